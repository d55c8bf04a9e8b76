"""What a stack owns in a daemon, known by labels.

An `up` that is killed between creating a container and writing the state leaves a container that
the state does not know. It is found by its labels, and removed.
"""

import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode

from ...errors import (
    DockerConflictError,
    DockerError,
    DockerForbiddenError,
    DockerNotFoundError,
    message,
    printable,
)
from ...values import Owner
from ...values.owner import is_named, take_over
from .daemon import TIMEOUT, Daemon, segment

OWNER: Final = "flakeup.owner"
"""Label of a container or network: the owner that it belongs to."""
SERVICE: Final = "flakeup.service"
"""Label of a service's container: the service."""
EDGE: Final = "flakeup.edge"
"""Label of an edge: the service that it is for."""
SECRETS: Final = "flakeup.secrets"
"""Label of a secrets container: the service that the secrets are for."""
CANDIDATE: Final = "flakeup.candidate"
"""Label of a candidate: the owner and the service that it is for."""
SPEC: Final = "flakeup.spec"
"""Label of a service's container: a digest of the inputs that the provider does not compare."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """A container that exists, running or not."""

    id: str
    name: str
    state: str
    """`running`, `exited`, `created`, …"""
    ports: frozenset[int]
    """Ports of the machine that it publishes."""
    owner: str = ""
    """Its label `OWNER`."""


async def containers(docker: Daemon, labels: Mapping[str, str]) -> tuple[Container, ...]:
    """Return the containers that have all of these labels."""
    found = await docker.get(f"/containers/json?{_filter(labels, all='1')}")
    return tuple(
        Container(
            id=str(one["Id"]),
            name=str(one["Names"][0])[1:],
            state=str(one["State"]),
            ports=frozenset(port["PublicPort"] for port in one["Ports"] if "PublicPort" in port),
            owner=str(one["Labels"].get(OWNER, "")),
        )
        for one in found
    )


async def refuse_namesakes(docker: Daemon, service: str, stack: str, owner: Owner | None) -> None:
    """Refuse a service that a stack of the same name has on this daemon already.

    It is another clone's, or this stack's from before its state was lost: nobody but the user can
    tell. `stack` is PROJECT/STACK, `owner` None if the state has none yet.

    Raises:
        DockerError: there are containers of such a service.
    """
    found: dict[str, str] = {}
    for label in (SERVICE, EDGE, SECRETS):
        for one in await containers(docker, {label: service}):
            if is_named(one.owner, stack) and (owner is None or one.owner != owner.text):
                found[one.name] = one.owner
    if not found:
        return
    whose = min(found.values())
    names = ", ".join(sorted(name for name, label in found.items() if label == whose))
    detail = f"it belongs to {printable(whose)}, and is not in this stack's state: {names}"
    remedy = f"rename this stack, or use another daemon; if its state was lost, {take_over(whose)}"
    raise DockerError(message("service exists", f"{service} ({docker.host})", detail, remedy))


async def unused_secrets_containers(
    docker: Daemon, owner: str, service: str, users: Iterable[Container]
) -> tuple[Container, ...]:
    """Return a service's secrets containers whose volume none of `users` mounts."""
    found = await containers(docker, {OWNER: owner, SECRETS: service})
    used: set[str] = set()
    for user in users if found else ():
        seen = await docker.find(f"/containers/{user.id}/json") or {"HostConfig": {}}
        used.update(name.partition(":")[0] for name in seen["HostConfig"].get("VolumesFrom") or ())
    return tuple(one for one in found if not used & {one.id, one.name})


async def remove_container(docker: Daemon, container: str) -> None:
    """Remove a container, running or not; one that is gone, or being removed, is no error."""
    with suppress(DockerNotFoundError, DockerConflictError):
        await docker.change("DELETE", f"/containers/{segment(container)}?force=1&v=1")


async def stop_and_remove(docker: Daemon, found: Iterable[Container], grace: int) -> None:
    """Stop containers, each within `grace` seconds, and remove them."""
    for one in found:
        with suppress(DockerNotFoundError):
            path = f"/containers/{one.id}/stop?{urlencode({'t': grace})}"
            await docker.change("POST", path, seconds=grace + TIMEOUT)
        await remove_container(docker, one.id)


async def remove_unused_networks(docker: Daemon, labels: Mapping[str, str]) -> None:
    """Remove the networks that have all of these labels and no containers."""
    for one in await docker.get(f"/networks?{_filter(labels)}"):
        with suppress(DockerNotFoundError, DockerForbiddenError, DockerConflictError):
            await docker.change("DELETE", f"/networks/{one['Id']}")


def _filter(labels: Mapping[str, str], **query: str) -> str:
    wanted: dict[str, Any] = {"label": [f"{name}={text}" for name, text in labels.items()]}
    return urlencode({**query, "filters": json.dumps(wanted)})
