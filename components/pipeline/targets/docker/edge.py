"""The edge of a service: the container that has its ports, and says whose requests go where.

It is HAProxy, in master-worker mode: a new configuration is taken over without closing a port, and
connections of before are answered by the worker of before, until they end
(HAProxy's management guide, "Stopping and restarting").
"""

import asyncio
import time
from collections.abc import Mapping
from typing import Any, Final

from ...errors import DockerAwayError, DockerError, message
from .daemon import Daemon, segment
from .route import CONFIG, FOLDER, Route

TAKING_OVER: Final = 10.0
"""Seconds for a new worker to be there."""
PAUSE: Final = 0.1
_LOOK: Final = "look at the edge's image: it has to be HAProxy 2.4 or later"
_FILE: Final = CONFIG.removeprefix(f"{FOLDER}/")
_NEXT: Final = f"{_FILE}.next"


async def send(docker: Daemon, edge: str, route: Route) -> None:
    """Send what the edge is asked from now on along `route`.

    When it has ended, requests of before are answered too, as far as the route's grace allows. What
    is in the file says nothing of what HAProxy has taken over: it is told each time.

    Raises:
        DockerError: HAProxy does not take it; then all goes where it went.
    """
    seen = await _running(docker, edge)
    name = str(seen["Name"])[1:]
    if refused := await _refused(docker, edge, route):
        raise DockerError(message("the edge refused its configuration", name, refused, _LOOK))
    before = await _workers(docker, seen)
    await docker.put(edge, FOLDER, {_FILE: route.config})
    await docker.change("POST", f"/containers/{segment(edge)}/kill?signal=USR2")
    deadline = time.monotonic() + max(TAKING_OVER, route.grace + 1)
    while time.monotonic() < deadline:
        await asyncio.sleep(PAUSE)
        seen = await _running(docker, edge)
        now = await _workers(docker, seen)
        if now - before and not now & before:
            return
    if not now - before:
        log = await docker.logs(edge, 10)
        raise DockerError(message("the edge did not take over its configuration", name, log, _LOOK))


async def _refused(docker: Daemon, edge: str, route: Route) -> str:
    """Why HAProxy would not take a configuration; empty where it would."""
    try:
        await docker.put(edge, FOLDER, {_NEXT: route.config})
        code, said = await docker.execute(edge, "haproxy", "-c", "-f", f"{FOLDER}/{_NEXT}")
    except DockerAwayError:
        raise
    except DockerError as error:
        return str(error)
    return (said or f"exit code {code}") if code else ""


async def _running(docker: Daemon, edge: str) -> Mapping[str, Any]:
    """The edge as the daemon has it.

    Raises:
        DockerError: it is not there, or does not run.
    """
    seen: Mapping[str, Any] | None = await docker.find(f"/containers/{segment(edge)}/json")
    remedy = "`pulumi up --refresh` makes it again"
    if seen is None:
        raise DockerError(message("the edge is gone", edge[:12], "", remedy))
    if not seen["State"]["Running"]:
        log = await docker.logs(edge, 10)
        raise DockerError(message("the edge has ended", str(seen["Name"])[1:], log, remedy))
    return seen


async def _workers(docker: Daemon, seen: Mapping[str, Any]) -> frozenset[str]:
    """The processes that its master has started."""
    name = str(seen["Name"])[1:]
    try:
        told = await docker.get(f"/containers/{seen['Id']}/top")
    except DockerAwayError:
        raise
    except DockerError as error:
        remedy = "dockerd needs `ps` on its PATH"
        text = message("cannot look at the edge's processes", name, str(error), remedy)
        raise DockerError(text) from error
    process, parent = told["Titles"].index("PID"), told["Titles"].index("PPID")
    master = str(seen["State"]["Pid"])
    return frozenset(one[process] for one in told["Processes"] if one[parent] == master)
