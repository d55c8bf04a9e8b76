"""A candidate: a container that has to become healthy before anything is changed for it."""

import asyncio
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlencode

from components.pipeline.docker.daemon import Daemon, segment
from components.pipeline.errors import DockerError, message, printable

TRIAL: Final = "flakeup.trial"
"""Label of a candidate: the stack and the service that it is for."""
PAUSE: Final = 0.3
LOG_LINES: Final = 10
STEADY: Final = 3.0
"""Seconds that a container without a health check has to run to count as healthy."""
_NANO: Final = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """How Docker itself looks whether a container is well; times in seconds."""

    command: tuple[str, ...]
    interval: float = 2.0
    timeout: float = 5.0
    retries: int = 3
    start_period: float = 0.0

    @property
    def body(self) -> dict[str, Any]:
        """As the interface has it."""
        return {
            "Test": ["CMD", *self.command],
            "Interval": int(self.interval * _NANO),
            "Timeout": int(self.timeout * _NANO),
            "Retries": self.retries,
            "StartPeriod": int(self.start_period * _NANO),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """What a service's container will be, without its ports and volumes."""

    service: str
    image: str
    command: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    network: str = "bridge"
    user: str = ""
    read_only: bool = False
    health: Health | None = None

    @property
    def body(self) -> dict[str, Any]:
        """As the interface has it."""
        body: dict[str, Any] = {
            "Image": self.image,
            "Env": [f"{name}={text}" for name, text in sorted(self.env.items())],
            "HostConfig": {"NetworkMode": self.network, "ReadonlyRootfs": self.read_only},
        }
        if self.command:
            body["Cmd"] = list(self.command)
        if self.user:
            body["User"] = self.user
        if self.health:
            body["Healthcheck"] = self.health.body
        return body


async def tried(
    docker: Daemon, candidate: Candidate, owner: str, *, seconds: float, say: Callable[[str], None]
) -> None:
    """Run a candidate until it is healthy, and remove it.

    Candidates of an `up` that was cut off are removed first.

    Raises:
        DockerError: it does not become healthy; with its last words.
    """
    label = f"{owner}/{candidate.service}"
    await _sweep(docker, label)
    name = f"{candidate.service}-trial-{secrets.token_hex(4)}"
    body = {**candidate.body, "Labels": {TRIAL: label}}
    say("trying the new image")
    try:
        made = await docker.change("POST", f"/containers/create?{urlencode({'name': name})}", body)
    except DockerError as error:
        raise _refused(candidate, error) from error
    try:
        await docker.change("POST", f"/containers/{made['Id']}/start")
        await healthy(docker, str(made["Id"]), candidate.service, seconds=seconds)
    except DockerError as error:
        if error.code:
            raise _refused(candidate, error) from error
        raise
    finally:
        await _remove(docker, str(made["Id"]))


async def healthy(docker: Daemon, container: str, service: str, *, seconds: float) -> None:
    """Wait until Docker says that a container is well.

    Raises:
        DockerError: it ended, is unhealthy, or is not well in time.
    """
    deadline, began = time.monotonic() + seconds, time.monotonic()
    while True:
        seen = await docker.get(f"/containers/{segment(container)}/json")
        state = seen["State"]
        health = (state.get("Health") or {}).get("Status", "")
        if not state["Running"] or state.get("Restarting") or seen.get("RestartCount"):
            why = f"it ended with exit code {state.get('ExitCode')}"
            raise await _unwell(docker, container, service, why)
        if health == "healthy":
            return
        if health == "unhealthy":
            raise await _unwell(docker, container, service, _last_look(state))
        if not health and time.monotonic() - began > STEADY:
            return
        if time.monotonic() > deadline:
            why = f"it is not healthy after {seconds:g} s: {_last_look(state)}"
            raise await _unwell(docker, container, service, why)
        await asyncio.sleep(PAUSE)


def _last_look(state: Mapping[str, Any]) -> str:
    log = (state.get("Health") or {}).get("Log") or [{}]
    said = printable(str(log[-1].get("Output") or "").strip(), 300)
    return f"its health check says: {said or 'nothing'}"


async def _unwell(docker: Daemon, container: str, service: str, why: str) -> DockerError:
    log = await docker.logs(container, LOG_LINES)
    detail = f"{why}\n{log}" if log else why
    remedy = "what served before serves on; mend the release and run `pulumi up` again"
    return DockerError(message("not healthy", service, detail, remedy))


def _refused(candidate: Candidate, error: DockerError) -> DockerError:
    remedy = f"look at services.{candidate.service} in the config"
    text = message("Docker refused the container", candidate.service, str(error), remedy)
    return DockerError(text, code=error.code)


async def _sweep(docker: Daemon, label: str) -> None:
    filters = f'{{"label": ["{TRIAL}={label}"]}}'
    query = urlencode({"all": "1", "filters": filters})
    for left in await docker.get(f"/containers/json?{query}"):
        await _remove(docker, str(left["Id"]))


async def _remove(docker: Daemon, container: str) -> None:
    try:
        await docker.change("DELETE", f"/containers/{container}?force=1&v=1")
    except DockerError as error:
        if error.code not in {HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT}:
            raise
