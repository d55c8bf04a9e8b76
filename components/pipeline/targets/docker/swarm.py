"""Services of a swarm as the daemon has them: what they run, and what is left of them."""

import asyncio
import json
import time
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlencode

from ...errors import DockerError, message, printable
from .daemon import Daemon, segment

PAUSE: Final = 0.5
STEADY: Final = 3.0
"""Seconds that tasks without a health check have to run, as a candidate has."""
GOING: Final = 30.0
"""Seconds for tasks to be forgotten that have ended."""
MONITOR: Final = 5
"""Seconds for which the swarm watches a task that runs, before it goes on to the next one."""
CONVERGENCE: Final = 5
"""Seconds in which the swarm tells its nodes of a task that is to stop, and is told that it has."""
AGAIN: Final = (
    "what served before serves on; fix the release, then run `pulumi up` again, "
    "or `pulumi up --refresh` where nothing is to be mended"
)
_BACK: Final = {
    "paused": "its update was paused",
    "rollback_started": "its update is being rolled back",
    "rollback_paused": "its rollback was paused",
    "rollback_completed": "its update was rolled back",
}


def go_duration(seconds: int) -> str:
    """A time as the provider reads it back; written in another way, it would be a change."""
    hours, rest = divmod(seconds, 3600)
    minutes, rest = divmod(rest, 60)
    told = f"{rest}s"
    if hours or minutes:
        told = f"{hours}h{minutes}m{told}" if hours else f"{minutes}m{told}"
    told = told.removesuffix("0s") if told.endswith("m0s") else told
    return told.removesuffix("0m") if told.endswith("h0m") else told


async def services(docker: Daemon, labels: Mapping[str, str]) -> list[Any]:
    """Those with all of these labels; none where the daemon manages no swarm."""
    wanted = {"label": [f"{name}={text}" for name, text in labels.items()]}
    query = urlencode({"filters": json.dumps(wanted)})
    try:
        found: list[Any] = await docker.get(f"/services?{query}")
    except DockerError as error:
        if error.code == HTTPStatus.SERVICE_UNAVAILABLE:
            return []
        raise
    return found


async def ports(docker: Daemon, labels: Mapping[str, str]) -> frozenset[int]:
    """Ports of all nodes that services with these labels have."""
    found = await services(docker, labels)
    told = (one for each in found for one in (each.get("Endpoint") or {}).get("Ports") or ())
    return frozenset(int(one["PublishedPort"]) for one in told if one.get("PublishedPort"))


async def end(docker: Daemon, labels: Mapping[str, str]) -> None:
    """Remove the services with these labels, and the secrets that nobody uses then."""
    for one in await services(docker, labels):
        await _remove(docker, f"/services/{one['ID']}")


async def end_secrets(docker: Daemon, labels: Mapping[str, str]) -> None:
    """Remove the secrets with these labels that no service uses."""
    wanted = {"label": [f"{name}={text}" for name, text in labels.items()]}
    query = urlencode({"filters": json.dumps(wanted)})
    try:
        found = await docker.get(f"/secrets?{query}")
    except DockerError as error:
        if error.code == HTTPStatus.SERVICE_UNAVAILABLE:
            return
        raise
    for one in found:
        await _remove(docker, f"/secrets/{one['ID']}")


async def gone(docker: Daemon, seconds: float) -> None:
    """Wait, no longer than that, for the tasks of services that are gone: networks are theirs."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        known = {one["ID"] for one in await docker.get("/services")}
        tasks = await docker.get("/tasks")
        if all(task.get("ServiceID", "") in {"", *known} for task in tasks):
            return
        await asyncio.sleep(PAUSE)


async def _remove(docker: Daemon, path: str) -> None:
    try:
        await docker.change("DELETE", path)
    except DockerError as error:
        if error.code not in {HTTPStatus.NOT_FOUND, HTTPStatus.BAD_REQUEST}:
            raise


async def wrong(docker: Daemon, identity: str, image: str) -> str:
    """What is not as it was asked for; empty where all is."""
    told = await docker.find(f"/services/{segment(identity)}")
    return "it is gone" if told is None else _wrong(told, image)


def _wrong(told: Mapping[str, Any], image: str) -> str:
    status = told.get("UpdateStatus") or {}
    if how := _BACK.get(str(status.get("State"))):
        said = printable(str(status.get("Message") or ""), 300)
        return f"{how}: {said}" if said else how
    runs = _image(told["Spec"]["TaskTemplate"])
    return "" if runs == image else f"it is of the image {printable(runs)}"


async def serving(docker: Daemon, identity: str, image: str, service: str, seconds: float) -> None:
    """Wait until all tasks of a service run what was asked for.

    Raises:
        DockerError: it was rolled back, is gone, or its tasks do not run in time.
    """
    deadline = time.monotonic() + seconds
    before, since = frozenset[str](), 0.0
    while True:
        told = await docker.find(f"/services/{segment(identity)}")
        why = "it is gone" if told is None else _wrong(told, image)
        if told is None or why:
            raise DockerError(message("not serving", service, why, AGAIN))
        wanted = int((told["Spec"]["Mode"].get("Replicated") or {}).get("Replicas") or 0)
        tasks = await _tasks(docker, identity)
        running = frozenset(t["ID"] for t in tasks if _image(t["Spec"]) == image and _runs(t))
        if running != before:
            before, since = running, time.monotonic()
        is_steady = _has_check(told) or time.monotonic() - since > STEADY
        if len(running) >= wanted and is_steady and not _is_updating(told):
            return
        if time.monotonic() > deadline:
            why = f"{len(running)} of {wanted} tasks run after {seconds:g} s{_complaint(tasks)}"
            raise DockerError(message("not serving", service, why, AGAIN))
        await asyncio.sleep(PAUSE)


async def _tasks(docker: Daemon, identity: str) -> list[Any]:
    query = urlencode({"filters": json.dumps({"service": [identity]})})
    found: list[Any] = await docker.get(f"/tasks?{query}")
    return found


def _image(task: Mapping[str, Any]) -> str:
    """Without the digest that a registry would add."""
    return str(task["ContainerSpec"]["Image"]).partition("@")[0]


def _has_check(told: Mapping[str, Any]) -> bool:
    """Whether a task that runs is one that is healthy."""
    check = told["Spec"]["TaskTemplate"]["ContainerSpec"].get("Healthcheck") or {}
    return bool(check.get("Test"))


def _is_updating(told: Mapping[str, Any]) -> bool:
    return bool((told.get("UpdateStatus") or {}).get("State") == "updating")


def _runs(task: Mapping[str, Any]) -> bool:
    return bool(task["Status"]["State"] == task["DesiredState"] == "running")


def _complaint(tasks: list[Any]) -> str:
    """What the last task that has failed says."""
    failed = [task for task in tasks if task["Status"].get("Err")]
    last = max(failed, key=lambda task: str(task["Status"]["Timestamp"]), default=None)
    return f": {printable(str(last['Status']['Err']), 300)}" if last else ""
