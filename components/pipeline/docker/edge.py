"""The edge of a service: the container that has its ports, and says whose requests go where.

It is HAProxy, in master-worker mode: a new configuration is taken over without closing a port, and
connections of before are answered by the worker of before, until they end
(HAProxy's management guide, "Stopping and restarting").
"""

import asyncio
from typing import Final

from components.pipeline.docker.daemon import Daemon, segment
from components.pipeline.docker.route import CONFIG, FOLDER, Route
from components.pipeline.errors import DockerError, message

SETTLED: Final = 0.3
"""Seconds after which a master that could not take over its configuration has said so."""
_NEXT: Final = "haproxy.cfg.next"


async def send(docker: Daemon, edge: str, route: Route) -> None:
    """Send what the edge is asked from now on along `route`.

    Raises:
        DockerError: HAProxy does not take it; then all goes where it went.
    """
    if await docker.read(edge, CONFIG) == route.config:
        return
    await docker.put(edge, FOLDER, {_NEXT: route.config})
    code, said = await docker.execute(edge, "haproxy", "-c", "-f", f"{FOLDER}/{_NEXT}")
    if code:
        remedy = "look at the edge's image: it has to be HAProxy 2.4 or later"
        raise DockerError(message("the edge refused its configuration", edge, said, remedy))
    await docker.put(edge, FOLDER, {"haproxy.cfg": route.config})
    await docker.change("POST", f"/containers/{segment(edge)}/kill?signal=USR2")
    await asyncio.sleep(SETTLED)
    state = (await docker.get(f"/containers/{segment(edge)}/json"))["State"]
    if not state["Running"]:
        said = await docker.logs(edge, 10)
        raise DockerError(message("the edge has ended", edge, said, "look at its log"))
