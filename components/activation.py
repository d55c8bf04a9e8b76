"""The hooks around `switch`: what it would change, the attempt, and retries of the commit.

The hook brings the host to `awaiting-confirm`; the resource's own connection, new and by
another client, is the confirmation. A hook that raises fails the resource with that message
alone, and the state stays at OLD.
"""

import asyncio
import getpass
import os
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pulumi

from components.copying import Copying
from components.pipeline import activate, closure
from components.pipeline.attempt import Absent, Attempt, abort
from components.pipeline.changes import change_set
from components.pipeline.grammar import StorePath
from components.pipeline.plan import Action, HostPlan, drift
from components.pipeline.transport import Ssh
from components.release_record import ReleaseRecord

COMMIT_TRIES = 5
FIRST_PAUSE = 1.0
"""Seconds before the first retry of a commit; doubled for each further one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedRelease:
    """What the hosts of a release share: its one build, and its record in the state."""

    copying: Copying
    record: ReleaseRecord


class Activation:
    """One host's hooks; `component` is where its messages appear."""

    def __init__(
        self, plan: HostPlan, ssh: Ssh, release: SharedRelease, *, component: pulumi.Resource
    ) -> None:
        self._plan = plan
        self._ssh = ssh
        self._copying = release.copying
        self._record = release.record
        self._component = component
        self._began = time.monotonic()
        self._changes = False
        self._awaiting: Attempt | None = None

    def hooks(self) -> pulumi.ResourceHookBinding:
        """The hooks of the resource `switch`."""
        name = self._plan.host.name
        options = pulumi.ResourceHookOptions(on_dry_run=True)
        before = pulumi.ResourceHook(f"{name}-switch", self._before, options)
        if pulumi.runtime.is_dry_run():  # each hook is a call to the engine, at each preview
            return pulumi.ResourceHookBinding(before_create=[before], before_update=[before])
        after = pulumi.ResourceHook(f"{name}-switch-after", self._after)
        return pulumi.ResourceHookBinding(
            before_create=[before],
            before_update=[before],
            after_create=[after],
            after_update=[after],
            on_error=[pulumi.ErrorHook(f"{name}-switch-error", self._on_error)],
        )

    def watch(self, switch: pulumi.Resource) -> None:
        """Once it is known that `switch` does not change, say so where the host has drifted."""

        def look(urn: str) -> None:
            if not self._changes and (line := drift(self._plan, self._plan.system.out)):
                pulumi.log.warn(f"{line} '{urn}'", resource=self._component)

        switch.urn.apply(look)

    async def _before(self, args: pulumi.ResourceHookArgs) -> None:
        self._changes = True
        old = _old_path(args.old_inputs)
        if pulumi.runtime.is_dry_run():
            await self._preview(old)
        else:
            await self._activate(old)

    # --- preview ---------------------------------------------------------------------------

    async def _preview(self, old: StorePath | None) -> None:
        plan = self._plan
        lines = [f"{plan.host.name}: {plan.system.out.path}"]
        if old:
            lines[0] = f"{plan.host.name}: {old.path} → {plan.system.out.path}"
            lines += await self._change_lines(old)
        lines += self._observed_lines(old)
        pulumi.log.info("\n  ".join(lines), resource=self._component)

    async def _change_lines(self, old: StorePath) -> list[str]:
        before = await self._record.previous(self._plan.host, old)
        if before is None:
            return ["what changes: unknown, since the old system's sources are not at hand"]
        return change_set(before, self._plan.system).lines()

    def _observed_lines(self, old: StorePath | None) -> list[str]:
        if line := drift(self._plan, old):
            return [line]
        match self._plan.action:
            case Action.UNREACHABLE:
                return [str(self._plan.trouble)]
            case Action.BUSY:
                return ["a deployment is under way on it"]
            case Action.UNCHANGED:
                return ["it runs the new system already"]
            case _:
                return []

    # --- up --------------------------------------------------------------------------------

    async def _activate(self, old: StorePath | None) -> None:
        self._began = time.monotonic()
        attempt = Attempt(
            ssh=self._ssh,
            old=old,
            new=self._plan.system.out,
            by=f"{getpass.getuser()}@{socket.gethostname()} (pid {os.getpid()})",
            progress=lambda state: self._tell(state, ephemeral=True),
        )
        try:
            state = await attempt.run()
        except Absent:
            # The state says that it was copied, the host says otherwise: the host is right.
            await self._copying.built()
            await closure.copy(self._plan.system, self._ssh)
            state = await attempt.run()
        self._awaiting = attempt
        self._tell("unchanged" if state is None else "activated, waiting", ephemeral=True)

    async def _after(self, _: pulumi.ResourceHookArgs) -> None:
        self._copying.stages.mark("switch", self._began)
        seconds = time.monotonic() - self._began
        self._tell(f"on {self._plan.system.out.path} ({seconds:.1f} s)")

    async def _on_error(self, args: pulumi.ErrorHookArgs) -> bool:
        """Send the commit again where the connection, not the host, was the reason.

        A host that can't be asked to commit is asked to go back: it is never left unconfirmed
        by a deployer that is still there.
        """
        if self._awaiting is None:  # the hook failed, and has said why
            return False
        newest = args.errors[0] if args.errors else ""
        if "Process exited with status" in newest:
            self._complain(activate.last_word(self._plan.host.name, newest))
            return False
        if len(args.errors) <= COMMIT_TRIES:
            await asyncio.sleep(FIRST_PAUSE * 2 ** (len(args.errors) - 1))
            return True
        last = await abort(self._awaiting, "the commit could not be sent")
        current = last["current"] if last else "an unknown system"
        self._complain(f"the commit could not be sent; the host runs {current}")
        return False

    def _complain(self, text: str) -> None:
        pulumi.log.error(f"{self._plan.host.name}: {text}", resource=self._component)

    def _tell(self, text: str, *, ephemeral: bool = False) -> None:
        pulumi.log.info(
            f"{self._plan.host.name}: {text}", resource=self._component, ephemeral=ephemeral
        )


def _old_path(old_inputs: Mapping[str, Any] | None) -> StorePath | None:
    create = (old_inputs or {}).get("create")
    return activate.committed_path(create) if isinstance(create, str) else None
