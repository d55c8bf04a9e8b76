"""The edge of a service: the container that has its ports, and forwards requests to the service.

It is HAProxy in master-worker mode. A new configuration is loaded without closing a port: the
previous worker serves its connections until they end (HAProxy's management guide, "Stopping and
restarting HAProxy").
"""

import asyncio
import time
from collections.abc import Mapping
from typing import Any, Final

from ...errors import DockerError, DockerRefusedError, message
from .daemon import Daemon, segment
from .route import CONFIG, FOLDER, Route

RELOAD_TIMEOUT: Final = 10.0
"""Seconds for a new worker to start."""
POLL_INTERVAL: Final = 0.1
LOG_LINES: Final = 10
_CHECK_IMAGE: Final = "check the edge's image: it must be HAProxy 2.4 or later"
_FILE: Final = CONFIG.removeprefix(f"{FOLDER}/")
_NEXT: Final = f"{_FILE}.next"


async def send(docker: Daemon, edge: str, route: Route) -> None:
    """Send new requests along `route`; returns once the previous ones are answered.

    These have as long as the route's grace allows. The route is sent each time: the file in the
    edge does not say which configuration HAProxy has loaded.

    Raises:
        DockerError: HAProxy does not accept the route; the traffic is as it was.
    """
    state = await _running(docker, edge)
    name = str(state["Name"])[1:]
    if rejected := await _validate(docker, edge, route):
        text = message("the edge rejected its configuration", name, rejected, _CHECK_IMAGE)
        raise DockerError(text)
    previous = await _workers(docker, state)
    await docker.put(edge, FOLDER, {_FILE: route.config})
    await docker.change("POST", f"/containers/{segment(edge)}/kill?signal=USR2")
    deadline = time.monotonic() + max(RELOAD_TIMEOUT, route.grace + 1)
    while time.monotonic() < deadline:
        await asyncio.sleep(POLL_INTERVAL)
        state = await _running(docker, edge)
        workers = await _workers(docker, state)
        if workers - previous and not workers & previous:
            return
    if not workers - previous:
        log = await docker.logs(edge, LOG_LINES)
        text = message("the edge did not load its configuration", name, log, _CHECK_IMAGE)
        raise DockerError(text)


async def _validate(docker: Daemon, edge: str, route: Route) -> str:
    """Return why HAProxy would reject a configuration; empty if it would accept it."""
    try:
        await docker.put(edge, FOLDER, {_NEXT: route.config})
        code, output = await docker.execute(edge, "haproxy", "-c", "-f", f"{FOLDER}/{_NEXT}")
    except DockerRefusedError as error:
        return error.reason
    return (output or f"exit code {code}") if code else ""


async def _running(docker: Daemon, edge: str) -> Mapping[str, Any]:
    """Return the state of the edge.

    Raises:
        DockerError: it does not exist, or is not running.
    """
    state: Mapping[str, Any] | None = await docker.find(f"/containers/{segment(edge)}/json")
    remedy = "`pulumi up --refresh` recreates it"
    if state is None:
        raise DockerError(message("the edge does not exist", edge[:12], "", remedy))
    if not state["State"]["Running"]:
        log = await docker.logs(edge, LOG_LINES)
        raise DockerError(message("the edge is not running", str(state["Name"])[1:], log, remedy))
    return state


async def _workers(docker: Daemon, state: Mapping[str, Any]) -> frozenset[str]:
    """Return the ids of the processes that the edge's master has started."""
    name = str(state["Name"])[1:]
    try:
        table = await docker.get(f"/containers/{state['Id']}/top")
    except DockerRefusedError as error:
        remedy = "dockerd needs `ps` on its PATH"
        text = message("cannot list the edge's processes", name, error.reason, remedy)
        raise DockerError(text) from error
    process, parent = table["Titles"].index("PID"), table["Titles"].index("PPID")
    master = str(state["State"]["Pid"])
    return frozenset(one[process] for one in table["Processes"] if one[parent] == master)
