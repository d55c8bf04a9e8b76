"""A candidate: a container of the new release that must become healthy before anything changes."""

import asyncio
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final
from urllib.parse import urlencode

from ...config.service_secrets import FOLDER
from ...errors import DockerError, DockerRefusedError, message, printable
from . import ownership, secrets_volume
from .daemon import Daemon, segment

POLL_INTERVAL: Final = 0.3
LOG_LINES: Final = 10
MIN_UPTIME: Final = 3.0
"""Seconds that a container without a health check must run to count as healthy."""
REMEDY: Final = "the previous version keeps serving; fix the release, then run `pulumi up` again"
_NANO: Final = 1_000_000_000
_UNUSED_PORT: Final = "1/tcp"
"""A port of a candidate on which nothing listens."""
_NO_IMAGE: Final = "No such image"
_PORT_IN_USE: Final = ("port is already allocated", "address already in use")


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthCheck:
    """A health check that Docker runs in a container; times in seconds."""

    command: tuple[str, ...]
    interval: float = 2.0
    timeout: float = 5.0
    retries: int = 3
    start_period: float = 0.0

    @property
    def payload(self) -> dict[str, Any]:
        """The `Healthcheck` of a container in the REST interface."""
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
    health_check: HealthCheck | None = None
    ports: tuple[int, ...] = ()
    """Ports of the machine that the service will have: they must be free."""

    @property
    def payload(self) -> dict[str, Any]:
        """The container in the REST interface; its ports lead to one on which nothing listens."""
        bindings = {_UNUSED_PORT: [{"HostPort": str(port)} for port in self.ports]}
        bindings = bindings if self.ports else {}
        payload: dict[str, Any] = {
            "Image": self.image,
            "Env": [f"{name}={text}" for name, text in sorted(self.env.items())],
            "ExposedPorts": {port: {} for port in bindings},
            "HostConfig": {
                "NetworkMode": self.network,
                "ReadonlyRootfs": self.read_only,
                "PortBindings": bindings,
            },
        }
        if self.command:
            payload["Cmd"] = list(self.command)
        if self.user:
            payload["User"] = self.user
        if self.health_check:
            payload["Healthcheck"] = self.health_check.payload
        return payload


async def run_candidate(
    docker: Daemon,
    candidate: Candidate,
    owner: str,
    *,
    seconds: float,
    report: Callable[[str], None],
) -> None:
    """Run a candidate until it is healthy, and remove it.

    Idempotent: what an interrupted `up` has left is removed first.

    Raises:
        DockerError: it does not become healthy within `seconds`; with the end of its log.
    """
    label = f"{owner}/{candidate.service}"
    await remove_leftovers(docker, label)
    # A port that the stack publishes already passes from one of its containers to another.
    own = await ownership.containers(docker, {ownership.OWNER: owner})
    published = frozenset[int]().union(*(one.ports for one in own))
    new = tuple(port for port in candidate.ports if port not in published)
    candidate = replace(candidate, ports=new)
    name = f"{candidate.service}-candidate-{secrets.token_hex(4)}"
    report("testing the new image")
    creation = asyncio.ensure_future(_create(docker, candidate, name, {ownership.CANDIDATE: label}))
    try:
        # Shielded: a container whose creation is cancelled half-way would exist afterwards.
        await asyncio.shield(creation)
        await docker.change("POST", f"/containers/{name}/start")
        await wait_healthy(docker, name, candidate.service, seconds=seconds)
    except DockerRefusedError as error:
        raise _refused(candidate, error) from error
    finally:
        await asyncio.wait([creation])
        await ownership.remove_container(docker, name)
        if candidate.secrets:
            await ownership.remove_container(docker, _secrets_container(name))


async def _create(
    docker: Daemon, candidate: Candidate, name: str, labels: Mapping[str, str]
) -> None:
    """Create the candidate, and first the volume of its secrets: as the service will have it."""
    payload = {**candidate.payload, "Labels": labels}
    if candidate.secrets:
        holder, files = _secrets_container(name), candidate.secrets
        wanted = secrets_volume.secrets_container(candidate.image, labels)
        await docker.change("POST", _create_path(holder), wanted)
        await docker.put(holder, FOLDER, files, mode=secrets_volume.MODE)
        payload["HostConfig"]["VolumesFrom"] = [secrets_volume.volumes_from(holder)]
    await docker.change("POST", _create_path(name), payload)


def _secrets_container(name: str) -> str:
    return f"{name}-secrets"


def _create_path(name: str) -> str:
    return f"/containers/create?{urlencode({'name': name})}"


async def leftovers(docker: Daemon, label: str) -> tuple[ownership.Container, ...]:
    """Return the candidates of an interrupted `up`."""
    return await ownership.containers(docker, {ownership.CANDIDATE: label})


async def remove_leftovers(docker: Daemon, label: str) -> None:
    """Remove the candidates of an interrupted `up`."""
    for one in await leftovers(docker, label):
        await ownership.remove_container(docker, one.id)


async def wait_healthy(
    docker: Daemon, container: str, service: str, *, seconds: float, remedy: str = REMEDY
) -> None:
    """Wait until Docker calls a container healthy.

    Raises:
        DockerError: it exited, is unhealthy, or is not healthy in time.
    """
    deadline, began = time.monotonic() + seconds, time.monotonic()
    first_restarts: int | None = None
    while True:
        seen = await docker.find(f"/containers/{segment(container)}/json")
        if seen is None:
            detail = f"container {container} does not exist"
            raise DockerError(message("not healthy", service, detail, remedy))
        state, restarts = seen["State"], int(seen.get("RestartCount") or 0)
        # Earlier restarts say nothing about its health now.
        first_restarts = restarts if first_restarts is None else first_restarts
        health = (state.get("Health") or {}).get("Status", "")
        if not state["Running"] or state.get("Restarting") or restarts > first_restarts:
            why = f"it exited with code {state.get('ExitCode')}"
            raise await _unhealthy(docker, seen, service, why, remedy)
        if health == "healthy":
            return
        if health == "unhealthy":
            raise await _unhealthy(docker, seen, service, _last_check(state), remedy)
        if not health and time.monotonic() - began > MIN_UPTIME:
            return
        if time.monotonic() > deadline:
            why = f"it is not healthy after {seconds:g} s: {_last_check(state)}"
            raise await _unhealthy(docker, seen, service, why, remedy)
        await asyncio.sleep(POLL_INTERVAL)


def _last_check(state: Mapping[str, Any]) -> str:
    log = (state.get("Health") or {}).get("Log") or [{}]
    output = printable(str(log[-1].get("Output") or "").strip(), 300)
    return f"its health check says: {output or 'nothing'}"


async def _unhealthy(
    docker: Daemon, seen: Mapping[str, Any], service: str, why: str, remedy: str
) -> DockerError:
    log = await docker.logs(str(seen["Id"]), LOG_LINES)
    detail = f"{why}\n{log}" if log else why
    return DockerError(message("not healthy", service, detail, remedy))


def _refused(candidate: Candidate, error: DockerRefusedError) -> DockerError:
    """Return the daemon's refusal with what it means for the service."""
    service = candidate.service
    if any(text in error.reason for text in _PORT_IN_USE):
        remedy = f"free it, or use another port in services.{service}"
        return DockerError(message("port already in use", service, error.reason, remedy))
    remedy = f"check services.{service}"
    if _NO_IMAGE in error.reason:
        remedy = "the image was removed: run `pulumi up` again, which loads it"
    return DockerError(message("Docker refused the container", service, error.reason, remedy))
