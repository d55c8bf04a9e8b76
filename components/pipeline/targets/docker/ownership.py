"""What a stack has in a daemon, by the labels on it.

An `up` that is killed between the making of a container and the writing of the state leaves one
that nobody knows of. It is found by its labels, and ended.
"""

import contextlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlencode

from ...errors import DockerError
from .daemon import ANSWER, Daemon, segment

OWNER: Final = "flakeup.owner"
"""Label of a container and a network: the stack that it is of."""
SERVICE: Final = "flakeup.service"
"""Label of a container: the service that it is of."""
EDGE: Final = "flakeup.edge"
"""Label of an edge: the service that it is for."""
SECRETS: Final = "flakeup.secrets"
"""Label of a container that holds secrets: the service that they are for."""
TRIAL: Final = "flakeup.trial"
"""Label of a candidate: the stack and the service that it is for."""
SPEC: Final = "flakeup.spec"
"""Label of a container: a digest of what the provider would not take for a change."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """One that is there, whether it runs or not."""

    id: str
    name: str
    state: str
    """`running`, `exited`, `created`, …"""
    ports: frozenset[int]
    """Ports of the machine that it has."""


async def containers(docker: Daemon, labels: Mapping[str, str]) -> tuple[Container, ...]:
    """Those with all of these labels."""
    found = await docker.get(f"/containers/json?{_asked(labels, all='1')}")
    return tuple(
        Container(
            id=str(one["Id"]),
            name=str(one["Names"][0])[1:],
            state=str(one["State"]),
            ports=frozenset(port["PublicPort"] for port in one["Ports"] if "PublicPort" in port),
        )
        for one in found
    )


async def holders(
    docker: Daemon, owner: str, service: str, users: Iterable[Container]
) -> tuple[Container, ...]:
    """Those that hold secrets of a service, and that none of its `users` has them from."""
    found = await containers(docker, {OWNER: owner, SECRETS: service})
    held: set[str] = set()
    for user in users if found else ():
        seen = await docker.find(f"/containers/{user.id}/json") or {"HostConfig": {}}
        held.update(name.partition(":")[0] for name in seen["HostConfig"].get("VolumesFrom") or ())
    return tuple(one for one in found if not held & {one.id, one.name})


async def remove(docker: Daemon, container: str) -> None:
    """Remove a container as it is; one that is gone, or going, is well."""
    with _unless(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT):
        await docker.change("DELETE", f"/containers/{segment(container)}?force=1&v=1")


async def end(docker: Daemon, some: Iterable[Container], grace: int) -> None:
    """Stop containers, with the time that they may take for it, and remove them."""
    for one in some:
        with _unless(HTTPStatus.NOT_FOUND, HTTPStatus.NOT_MODIFIED):
            path = f"/containers/{one.id}/stop?{urlencode({'t': grace})}"
            await docker.change("POST", path, seconds=grace + ANSWER)
        await remove(docker, one.id)


async def remove_networks(docker: Daemon, labels: Mapping[str, str]) -> None:
    """Remove the networks with all of these labels that nobody is in."""
    for one in await docker.get(f"/networks?{_asked(labels)}"):
        with _unless(HTTPStatus.NOT_FOUND, HTTPStatus.FORBIDDEN, HTTPStatus.CONFLICT):
            await docker.change("DELETE", f"/networks/{one['Id']}")


def _asked(labels: Mapping[str, str], **query: str) -> str:
    wanted: dict[str, Any] = {"label": [f"{name}={text}" for name, text in labels.items()]}
    return urlencode({**query, "filters": json.dumps(wanted)})


@contextlib.contextmanager
def _unless(*codes: HTTPStatus) -> Iterator[None]:
    """What the daemon refuses with one of these codes is well."""
    try:
        yield
    except DockerError as error:
        if error.code not in codes:
            raise
