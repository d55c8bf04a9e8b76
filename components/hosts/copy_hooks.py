"""The hooks of `build` and `copy`: one build for the release, one message per failure.

A failing hook ends in our message; a failing command in nix's output and the whole command line,
three times. So the hooks do the work, and the commands, which the tree shows, find it done. Their
effect is outside the state (another machine, a store that may be garbage collected), so nothing
relies on what the state says of it.
"""

import asyncio
import time

import pulumi

from ..pipeline.deploy import closure
from ..pipeline.deploy.plan import HostPlan
from ..pipeline.evaluate.attribute import EvaluatedAttr
from ..pipeline.process.timings import Timings
from ..stack.rollout import RolloutTracker
from .connection import Connection


class BuildAndCopy:
    """The build of a run, made once when the first resource needs it, and the copies."""

    def __init__(self, builds: tuple[EvaluatedAttr, ...], timings: Timings) -> None:
        self._builds = builds
        self.timings = timings
        self._build_task: asyncio.Task[None] | None = None

    async def ensure_built(self) -> None:
        """Build every closure of the run, unless it is in this machine's store.

        Raises:
            BuildError: the release does not build; everyone who waits gets it.
        """
        if self._build_task is None:
            self._build_task = asyncio.create_task(self._build())
        await asyncio.shield(self._build_task)

    async def _build(self) -> None:
        with self.timings.span("build"):
            for cache in await closure.realise(self._builds):
                pulumi.log.warn(
                    f"the Nix daemon does not take {cache} from you: be in its trusted-users, or "
                    "add the cache and its key to its nix.conf"
                )

    def build_hooks(self, name: str = "build") -> pulumi.ResourceHookBinding:
        """The hooks of a resource that needs the build; none in a preview."""
        if pulumi.runtime.is_dry_run():
            return pulumi.ResourceHookBinding()

        async def before_build(_: pulumi.ResourceHookArgs) -> None:
            await self.ensure_built()

        hook = pulumi.ResourceHook(name, before_build)
        return pulumi.ResourceHookBinding(before_create=[hook], before_update=[hook])

    def copy_hooks(
        self,
        plan: HostPlan,
        connection: Connection,
        tracker: RolloutTracker,
        *,
        component: pulumi.Resource,
    ) -> pulumi.ResourceHookBinding:
        """The hooks of one host's `copy`; messages appear at `component`."""
        name, began = plan.host.name, 0.0

        async def before_copy(_: pulumi.ResourceHookArgs) -> None:
            nonlocal began
            await self.ensure_built()
            began = time.monotonic()
            pulumi.log.info(f"{name}: copying", resource=component, ephemeral=True)
            with tracker.copying(name):
                await closure.copy(plan.system, await connection.transport())

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
