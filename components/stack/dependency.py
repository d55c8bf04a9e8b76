"""Dependencies on resources that may fail, without ending the program.

The SDK faults the outputs of a failed resource. If another registration waits for such an output,
that is an unhandled exception: the program ends, and with it the hooks of other hosts, in the
middle of their activation (seen with `pulumi up --continue-on-error`).
"""

from typing import TypeVar, cast

import pulumi
from pulumi.resource import DependencyResource

T = TypeVar("T")


def depends_even_if_failed(
    resource: pulumi.CustomResource,
    name: str,
    parent: pulumi.Resource,
    *,
    known: pulumi.Output[str] | None = None,
) -> pulumi.Input[pulumi.Resource]:
    """`resource` for `depends_on`: its dependents wait for it, and do not run if it failed.

    They also wait until `known` is, which must not fail. A failed resource has no URN output, so
    the URN is made from its name and its parent.
    """
    urn = pulumi.create_urn(name, resource.pulumi_resource_type, parent)

    async def dependency() -> pulumi.Resource:
        try:
            found = await resource.urn.future()
        except Exception:  # noqa: BLE001 the engine has reported it
            found = await urn.future()
        if known:
            await known.future()
        return DependencyResource(found or "")

    return pulumi.Output.from_input(dependency())


def output_or(
    output: pulumi.Output[T], instead: T, resource: pulumi.Input[pulumi.Resource]
) -> pulumi.Output[T]:
    """`output` as an input of other resources; `instead` if its resource failed.

    `resource` is that resource from `depends_even_if_failed`: who uses the input depends on it, so
    the engine does not run it after a failure.
    """
    recovered = output.recover(lambda _: instead)

    async def resources() -> set[pulumi.Resource]:
        known = await pulumi.Output.from_input(resource).future()
        return {known} if known else set()

    async def value() -> T:
        return cast("T", await recovered.future(with_unknowns=True))

    return pulumi.Output(resources(), value(), recovered.is_known(), recovered.is_secret())


def either(
    resource: pulumi.Resource,
    then: pulumi.Input[pulumi.Resource],
    instead: pulumi.Resource,
) -> pulumi.Input[pulumi.Resource]:
    """`then` for `depends_on`; `instead` if `resource` failed."""

    async def chosen() -> pulumi.Resource:
        try:
            await resource.urn.future()
        except Exception:  # noqa: BLE001 the engine has reported it
            return DependencyResource(await instead.urn.future() or "")
        known = await pulumi.Output.from_input(then).future()
        return known or instead

    return pulumi.Output.from_input(chosen())
