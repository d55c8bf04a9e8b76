"""Hooks that remove what is in the way of a resource of which there can be only one.

An `up` that is killed between creating a container and writing the state leaves a container that
the state does not know. It may have the port that the next one needs; so may the previous
container of a service whose strategy has changed.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping

import pulumi

from ..pipeline.config.services import ServiceSpec
from ..pipeline.targets.docker import ownership
from ..pipeline.targets.docker.daemon import Daemon, retry_through_restart
from ..pipeline.values import Owner
from ..stack import config


def network(
    name: str, host: str, owner: pulumi.Output[str], services: Iterable[str]
) -> pulumi.ResourceHookBinding:
    """Return the hook of a stack's network, which comes before all of its containers.

    Without a preview, this is the first to find that the services are another stack's.
    """
    stack, names = f"{pulumi.get_project()}/{pulumi.get_stack()}", tuple(services)

    async def clean_up(docker: Daemon) -> None:
        label = await _label(owner)
        for service in names:
            known = Owner.parse(label[ownership.OWNER])
            await ownership.refuse_namesakes(docker, service, stack, known)
        await ownership.remove_unused_networks(docker, label)

    return _before_create(name, host, clean_up)


def container(
    host: str, owner: pulumi.Output[str], spec: ServiceSpec
) -> pulumi.ResourceHookBinding:
    """Return the hook of a service's container that runs alone."""

    async def clean_up(docker: Daemon) -> None:
        owned = await _label(owner)
        for label in (ownership.SERVICE, ownership.EDGE):
            found = await ownership.containers(docker, {**owned, label: spec.name})
            await ownership.stop_and_remove(docker, found, spec.grace.seconds)

    return _before_create(spec.name, host, clean_up)


def edge(
    name: str, host: str, owner: pulumi.Output[str], spec: ServiceSpec
) -> pulumi.ResourceHookBinding:
    """Return the hook of a service's edge: only one container can publish its ports."""

    async def clean_up(docker: Daemon) -> None:
        owned = await _label(owner)
        edges = await ownership.containers(docker, {**owned, ownership.EDGE: spec.name})
        services = await ownership.containers(docker, {**owned, ownership.SERVICE: spec.name})
        found = (*edges, *(one for one in services if one.ports))
        await ownership.stop_and_remove(docker, found, spec.grace.seconds)

    return _before_create(name, host, clean_up)


async def _label(owner: pulumi.Output[str]) -> Mapping[str, str]:
    """The label of all that is the stack's: its owner is known in an update."""
    text = await owner.future()
    if not text:
        msg = "the owner of this stack is not known"
        raise AssertionError(msg)
    return {ownership.OWNER: text}


def _before_create(
    name: str, host: str, clean_up: Callable[[Daemon], Awaitable[None]]
) -> pulumi.ResourceHookBinding:
    if pulumi.runtime.is_dry_run():
        return pulumi.ResourceHookBinding()

    async def before_create(_: pulumi.ResourceHookArgs) -> None:
        async with Daemon(host, config.folder()) as docker:
            await retry_through_restart(docker, lambda: clean_up(docker))

    hook = pulumi.ResourceHook(f"{name}-cleanup", before_create)
    return pulumi.ResourceHookBinding(before_create=[hook])
