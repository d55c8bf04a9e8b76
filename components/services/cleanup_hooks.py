"""Hooks of what cannot be there twice: what an `up` that was cut off has left is ended first.

An `up` that is killed between the making of a container and the writing of the state leaves one
that the state does not know. It may have the port that the next one wants. So may a container of
before, where the strategy of a service has changed.
"""

from collections.abc import Awaitable, Callable

import pulumi

from ..pipeline.config.services import ServiceSpec
from ..pipeline.targets.docker import ownership
from ..pipeline.targets.docker.daemon import Daemon, steadily
from ..stack import config


def network(name: str, host: str, owner: str) -> pulumi.ResourceHookBinding:
    """The hook of a stack's network."""
    labels = {ownership.OWNER: owner}
    return _before_create(name, host, lambda docker: ownership.remove_networks(docker, labels))


def container(host: str, owner: str, spec: ServiceSpec) -> pulumi.ResourceHookBinding:
    """The hook of a service's container that is to be the only one."""

    async def work(docker: Daemon) -> None:
        for label in (ownership.SERVICE, ownership.EDGE):
            found = await ownership.containers(docker, {ownership.OWNER: owner, label: spec.name})
            await ownership.end(docker, found, spec.grace.seconds)

    return _before_create(spec.name, host, work)


def edge(name: str, host: str, owner: str, spec: ServiceSpec) -> pulumi.ResourceHookBinding:
    """The hook of a service's edge, which is to have its ports."""

    async def work(docker: Daemon) -> None:
        edges = await ownership.containers(
            docker, {ownership.OWNER: owner, ownership.EDGE: spec.name}
        )
        served = await ownership.containers(
            docker, {ownership.OWNER: owner, ownership.SERVICE: spec.name}
        )
        found = (*edges, *(one for one in served if one.ports))
        await ownership.end(docker, found, spec.grace.seconds)

    return _before_create(name, host, work)


def _before_create(
    name: str, host: str, work: Callable[[Daemon], Awaitable[None]]
) -> pulumi.ResourceHookBinding:
    """A preview makes nothing."""
    if pulumi.runtime.is_dry_run():
        return pulumi.ResourceHookBinding()

    async def before_create(_: pulumi.ResourceHookArgs) -> None:
        async with Daemon(host, config.folder()) as docker:
            await steadily(docker, lambda: work(docker))

    hook = pulumi.ResourceHook(f"{name}-alone", before_create)
    return pulumi.ResourceHookBinding(before_create=[hook])
