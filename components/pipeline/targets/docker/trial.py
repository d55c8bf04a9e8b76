"""A candidate: a container that has to become healthy before anything is changed for it."""

import asyncio
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final
from urllib.parse import urlencode

from ...errors import DockerAwayError, DockerError, message, printable
from . import ownership, secret
from .daemon import Daemon, segment

PAUSE: Final = 0.3
LOG_LINES: Final = 10
STEADY: Final = 3.0
"""Seconds that a container without a health check has to run to count as healthy."""
MEND: Final = "what served before serves on; fix the release, then run `pulumi up` again"
_NANO: Final = 1_000_000_000
_NOBODY: Final = "1/tcp"
"""A port of a candidate at which nobody listens."""
_GONE: Final = "No such image"
_TAKEN: Final = ("port is already allocated", "address already in use")


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
    """What a service's container will be, without its volumes."""

    service: str
    image: str
    command: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    network: str = "bridge"
    user: str = ""
    read_only: bool = False
    health: Health | None = None
    ports: tuple[int, ...] = ()
    """Ports of the machine that the service will have: nobody else may have them."""

    @property
    def body(self) -> dict[str, Any]:
        """As the interface has it: with its ports, and behind them nobody yet."""
        taken = {_NOBODY: [{"HostPort": str(port)} for port in self.ports]} if self.ports else {}
        body: dict[str, Any] = {
            "Image": self.image,
            "Env": [f"{name}={text}" for name, text in sorted(self.env.items())],
            "ExposedPorts": {port: {} for port in taken},
            "HostConfig": {
                "NetworkMode": self.network,
                "ReadonlyRootfs": self.read_only,
                "PortBindings": taken,
            },
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

    Candidates of an `up` that was cut off are removed first; so it may be done again.

    Raises:
        DockerError: it does not become healthy; with its last words.
    """
    label = f"{owner}/{candidate.service}"
    await left(docker, label, remove=True)
    # What the stack has already passes from one of its containers to another.
    own = await ownership.containers(docker, {ownership.OWNER: owner})
    had = frozenset[int]().union(*(one.ports for one in own))
    new = tuple(port for port in candidate.ports if port not in had)
    candidate = replace(candidate, ports=new)
    name = f"{candidate.service}-trial-{secrets.token_hex(4)}"
    say("trying the new image")
    creation = asyncio.ensure_future(_make(docker, candidate, name, {ownership.TRIAL: label}))
    try:
        # Shielded: one that is being made when this is cancelled would be there afterwards.
        await asyncio.shield(creation)
        await docker.change("POST", f"/containers/{name}/start")
        await healthy(docker, name, candidate.service, seconds=seconds)
    except DockerError as error:
        raise _refused(candidate, error) from error
    finally:
        await asyncio.wait([creation])
        await ownership.remove(docker, name)
        if candidate.secrets:
            await ownership.remove(docker, _holder(name))


async def _make(docker: Daemon, candidate: Candidate, name: str, labels: Mapping[str, str]) -> None:
    """The candidate, and before it what holds its secrets: it has them as the service will."""
    body = {**candidate.body, "Labels": labels}
    if candidate.secrets:
        holder = secret.holder(candidate.image, labels)
        await docker.change("POST", _creation(_holder(name)), holder)
        files = candidate.secrets
        await docker.put(_holder(name), secret.FOLDER, files, mode=secret.MODE)
        body["HostConfig"]["VolumesFrom"] = [secret.volumes_from(_holder(name))]
    await docker.change("POST", _creation(name), body)


def _holder(name: str) -> str:
    return f"{name}-secrets"


def _creation(name: str) -> str:
    return f"/containers/create?{urlencode({'name': name})}"


async def left(docker: Daemon, label: str, *, remove: bool = False) -> list[str]:
    """Candidates of an `up` that was cut off; gives their names."""
    found = await ownership.containers(docker, {ownership.TRIAL: label})
    if remove:
        for one in found:
            await ownership.remove(docker, one.id)
    return [one.name for one in found]


async def healthy(
    docker: Daemon, container: str, service: str, *, seconds: float, remedy: str = MEND
) -> None:
    """Wait until Docker says that a container is well.

    Raises:
        DockerError: it ended, is unhealthy, or is not well in time.
    """
    deadline, began = time.monotonic() + seconds, time.monotonic()
    restarts: int | None = None
    while True:
        seen = await docker.find(f"/containers/{segment(container)}/json")
        if seen is None:
            detail = f"there is no container {container}"
            raise DockerError(message("not healthy", service, detail, remedy))
        state, now = seen["State"], int(seen.get("RestartCount") or 0)
        # Those of long ago say nothing of how it is now.
        restarts = now if restarts is None else restarts
        health = (state.get("Health") or {}).get("Status", "")
        if not state["Running"] or state.get("Restarting") or now > restarts:
            why = f"it ended with exit code {state.get('ExitCode')}"
            raise await _unwell(docker, seen, service, why, remedy)
        if health == "healthy":
            return
        if health == "unhealthy":
            raise await _unwell(docker, seen, service, _last_look(state), remedy)
        if not health and time.monotonic() - began > STEADY:
            return
        if time.monotonic() > deadline:
            why = f"it is not healthy after {seconds:g} s: {_last_look(state)}"
            raise await _unwell(docker, seen, service, why, remedy)
        await asyncio.sleep(PAUSE)


def _last_look(state: Mapping[str, Any]) -> str:
    log = (state.get("Health") or {}).get("Log") or [{}]
    said = printable(str(log[-1].get("Output") or "").strip(), 300)
    return f"its health check says: {said or 'nothing'}"


async def _unwell(
    docker: Daemon, seen: Mapping[str, Any], service: str, why: str, remedy: str
) -> DockerError:
    log = await docker.logs(str(seen["Id"]), LOG_LINES)
    detail = f"{why}\n{log}" if log else why
    return DockerError(message("not healthy", service, detail, remedy))


def _refused(candidate: Candidate, error: DockerError) -> DockerError:
    """What the daemon itself has refused, with what it was for; else as it is."""
    if isinstance(error, DockerAwayError) or not error.code:
        return error
    if any(said in str(error) for said in _TAKEN):
        remedy = f"free it, or write another in services.{candidate.service}"
        text = message("a port is taken", candidate.service, str(error), remedy)
        return DockerError(text, code=error.code)
    remedy = f"look at services.{candidate.service}"
    if _GONE in str(error):
        remedy = "somebody has removed it: run `pulumi up` again, which loads it anew"
    text = message("Docker refused the container", candidate.service, str(error), remedy)
    return DockerError(text, code=error.code)
