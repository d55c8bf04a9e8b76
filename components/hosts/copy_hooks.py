"""The hooks of `build` and `copy`: the release is built once, and failures are one message.

What fails in a hook ends in our message; in a command, in nix's words and all of the command's
text, three times over. So the hooks do the work, and the commands, which are what is seen in the
tree, find it done. Their effect lives outside the state (another machine, a store since
collected), so nothing relies on the state's word for it.
"""

import asyncio
import time

import pulumi

from ..pipeline.deploy import closure
from ..pipeline.deploy.plan import HostPlan
from ..pipeline.evaluate.evaluate import EvaluatedAttr
from ..pipeline.process.timings import Timings
from ..stack.rollout import RolloutTracker
from .connection import Reach
from .incus_connection import Inside


class BuildAndCopy:
    """One build for all hosts of a run, made when the first resource needs it."""

    def __init__(self, systems: tuple[EvaluatedAttr, ...], timings: Timings) -> None:
        self._systems = systems
        self.timings = timings
        self._built: asyncio.Task[None] | None = None

    async def ensure_built(self) -> None:
        """Wait until this machine's store has every host's closure.

        Raises:
            BuildError: the release does not build; all who wait are told.
        """
        if self._built is None:
            self._built = asyncio.create_task(self._build())
        await asyncio.shield(self._built)

    async def _build(self) -> None:
        with self.timings.span("build"):
            await closure.realise(self._systems)

    def build_hooks(self, name: str = "build") -> pulumi.ResourceHookBinding:
        """The hooks of a resource that needs the build; a preview has no use for them."""
        if pulumi.runtime.is_dry_run():
            return pulumi.ResourceHookBinding()

        async def before_build(_: pulumi.ResourceHookArgs) -> None:
            await self.ensure_built()

        hook = pulumi.ResourceHook(name, before_build)
        return pulumi.ResourceHookBinding(before_create=[hook], before_update=[hook])

    def copy_hooks(
        self,
        plan: HostPlan,
        reach: Reach | Inside,
        tracker: RolloutTracker,
        *,
        component: pulumi.Resource,
    ) -> pulumi.ResourceHookBinding:
        """The hooks of the resource `copy` of one host; `component` is where it is seen."""
        name, began = plan.host.name, 0.0

        async def before_copy(_: pulumi.ResourceHookArgs) -> None:
            nonlocal began
            await self.ensure_built()
            began = time.monotonic()
            pulumi.log.info(f"{name}: copying", resource=component, ephemeral=True)
            with tracker.copying(name):
                await closure.copy(plan.system, await reach.way())

        async def after_copy(_: pulumi.ResourceHookArgs) -> None:
            self.timings.mark("copy", began)

        if pulumi.runtime.is_dry_run():
            return pulumi.ResourceHookBinding()
        before = pulumi.ResourceHook(f"{name}-copy", before_copy)
        after = pulumi.ResourceHook(f"{name}-copy-after", after_copy)
        return pulumi.ResourceHookBinding(
            before_create=[before],
            before_update=[before],
            after_create=[after],
            after_update=[after],
        )
