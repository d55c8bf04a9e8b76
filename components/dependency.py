"""What depends on a resource that may fail, without taking the program down with it.

The SDK faults the outputs of a resource whose operation failed. Where another registration waits
for such an output, that is an unhandled exception: the program ends, its hooks with it, and other
hosts are left in the middle of their activation (seen with `pulumi up --continue-on-error`).
"""

import pulumi
from pulumi.resource import DependencyResource


def settled(
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
