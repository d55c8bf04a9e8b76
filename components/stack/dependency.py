"""What depends on a resource that may fail, without taking the program down with it.

The SDK faults the outputs of a resource whose operation failed. Where another registration waits
for such an output, that is an unhandled exception: the program ends, its hooks with it, and other
hosts are left in the middle of their activation (seen with `pulumi up --continue-on-error`).
"""

from typing import TypeVar, cast

import pulumi
from pulumi.resource import DependencyResource

T = TypeVar("T")


def depends_even_if_failed(
    resource: pulumi.CustomResource, name: str, parent: pulumi.Resource
) -> pulumi.Input[pulumi.Resource]:
    """`resource` for `depends_on`: waited for, and then named, whether it has failed or not.

    A failed resource does not tell its URN: it is made from its name and its parent.
    """
    urn = pulumi.create_urn(name, resource.pulumi_resource_type, parent)

    async def stand_in() -> pulumi.Resource:
        try:
            known = await resource.urn.future()
        except Exception:  # noqa: BLE001 whatever it was, the engine has reported it
            known = await urn.future()
        return DependencyResource(known or "")

    return pulumi.Output.from_input(stand_in())


def output_or(
    output: pulumi.Output[T], instead: T, resource: pulumi.Input[pulumi.Resource]
) -> pulumi.Output[T]:
    """`output` as an input of others: `instead` where the resource that it is of has failed.

    `resource` is that one, settled: whoever has such an input depends on it, and so the engine
    does not let it begin.
    """
    told = output.recover(lambda _: instead)

    async def resources() -> set[pulumi.Resource]:
        known = await pulumi.Output.from_input(resource).future()
        return {known} if known else set()

    async def value() -> T:
        return cast("T", await told.future(with_unknowns=True))

    return pulumi.Output(resources(), value(), told.is_known(), told.is_secret())


def either(
    resource: pulumi.Resource,
    then: pulumi.Input[pulumi.Resource],
    instead: pulumi.Resource,
) -> pulumi.Input[pulumi.Resource]:
    """`then` for `depends_on`, or `instead` where `resource` has failed."""

    async def chosen() -> pulumi.Resource:
        try:
            await resource.urn.future()
        except Exception:  # noqa: BLE001 whatever it was, the engine has reported it
            return DependencyResource(await instead.urn.future() or "")
        known = await pulumi.Output.from_input(then).future()
        return known or instead

    return pulumi.Output.from_input(chosen())
