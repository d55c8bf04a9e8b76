"""The owner of what the stack has on daemons: made by the first `up`, and kept in the state.

It is not derived from the names of project and stack, which other stacks have too and which may
change: whatever else changes, the state is what knows that the things are its own.
"""

import pulumi

from ..pipeline.config.stack import Settings
from ..pipeline.values import Owner


def of_stack(settings: Settings) -> pulumi.Output[str]:
    """The label of this stack's owner; unknown in previews before the first `up`.

    Empty for a stack that has nothing on a daemon.
    """
    if not settings.uses_daemons:
        return pulumi.Output.from_input("")
    if settings.owner:
        return pulumi.Stash("owner", input=settings.owner.text).input
    # The state's own input wins. In a preview of the first `up`, the engine would take this one
    # for known, and the `up` makes another.
    name = f"{pulumi.get_project()}/{pulumi.get_stack()}"
    made = pulumi.UNKNOWN if pulumi.runtime.is_dry_run() else Owner.new(name).text
    options = pulumi.ResourceOptions(ignore_changes=["input"])
    return pulumi.Stash("owner", input=made, opts=options).input
