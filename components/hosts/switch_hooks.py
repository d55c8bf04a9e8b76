"""The hooks around `switch`: what it would change, the attempt, and retries of the commit.

The hook waits for the host's turn and brings it to `awaiting-confirm`; the resource's own
connection, new and by another client, is the confirmation. A hook that raises fails the resource
with that message alone, and the state stays at OLD.
"""

import asyncio
import getpass
import os
import re
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pulumi

from ..pipeline.activation import outcome, protocol
from ..pipeline.activation.attempt import Absent, Attempt
from ..pipeline.activation.protocol import State
from ..pipeline.activation.request import AttemptSpec
from ..pipeline.config.activation import Mode
from ..pipeline.deploy import closure
from ..pipeline.deploy.plan import Action, HostPlan, drift, one_ahead
from ..pipeline.errors import ReplyError
from ..pipeline.evaluate.change_set import change_set
from ..pipeline.transport.ssh import Transport
from ..pipeline.values import StorePath
from ..stack.release_record import ReleaseRecord
from ..stack.rollout import HostStatus, RolloutTracker
from .connection import Reach
from .copy_hooks import BuildAndCopy
from .incus_connection import Inside

COMMIT_TRIES = 10
CANCELED = "context canceled"
"""What the provider says of a dial after Ctrl-C: it makes one, and waits for no other."""
ANEW = "its root disk is recreated first; everything on it is lost"
PAUSE = 1.0
"""Seconds before a commit is tried again."""
EXITED = "Process exited with status"
"""What the provider says where the host, not the connection, was the reason."""
INSIDE = re.compile(r"exit status (\d+)")
"""What it says of a command by way of Incus's client."""
FOR_GOOD = ("host key mismatch", "unable to authenticate", "no matching host key")
"""Reasons that another dial does not take away."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedRelease:
    """What the hosts of a release share: its one build, its record, and whose turn it is."""

    copying: BuildAndCopy
    record: ReleaseRecord
    tracker: RolloutTracker


class Activation:
    """One host's hooks; `component` is where its messages appear."""

    def __init__(
        self,
        plan: HostPlan,
        reach: Reach | Inside,
        release: SharedRelease,
        *,
        component: pulumi.Resource,
        root: pulumi.Input[str] | None = None,
    ) -> None:
        self._plan = plan
        self._root = root
        self._reach = reach
        self._copying = release.copying
        self._record = release.record
        self._tracker = release.tracker
        self._component = component
        self._began = time.monotonic()
        self._changes = False
        self._awaiting: Attempt | None = None
        self._is_unchanged = False
        self._confirm_by = 0.0

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
            if self._changes:
                return
            self._tracker.skip(self._plan.host.name)
            if line := drift(self._plan, self._plan.system.out_path, urn):
                pulumi.log.warn(line, resource=self._component)

        switch.urn.apply(look)

    async def _before(self, args: pulumi.ResourceHookArgs) -> None:
        self._changes = True
        old = _old_path(args.old_inputs)
        if pulumi.runtime.is_dry_run():
            await self._preview(old, args.urn)
        else:
            await self._activate(old)

    # --- preview ---------------------------------------------------------------------------

    async def _preview(self, old: StorePath | None, urn: str) -> None:
        plan = self._plan
        lines = [f"{plan.host.name}: {plan.system.out_path.path}"]
        if old:
            lines[0] = f"{plan.host.name}: {old.path} → {plan.system.out_path.path}"
            lines += await self._change_lines(old)
        lines += self._mode_lines()
        lines += [ANEW] if await self._is_anew() else self._state_lines(old, urn)
        pulumi.log.info("\n  ".join(lines), resource=self._component)

    async def _is_anew(self) -> bool:
        """Whether the machine that is there loses its root before it is deployed to."""
        if self._root is None or self._plan.current is None:
            return False
        return not await pulumi.Output.from_input(self._root).is_known()

    async def _change_lines(self, old: StorePath) -> list[str]:
        before = await self._record.previous(self._plan.host, old)
        if before is None:
            return ["what changes: unknown, since the old system's sources are not at hand"]
        return change_set(before, self._plan.system).lines()

    def _mode_lines(self) -> list[str]:
        if self._plan.host.activation.mode is Mode.SWITCH:
            return []
        return ["mode boot: it becomes the boot default unproven, and runs from the next start"]

    def _state_lines(self, old: StorePath | None, urn: str) -> list[str]:
        if line := one_ahead(self._plan, old, _stack()) or drift(self._plan, old, urn):
            return [line]
        match self._plan.action:
            case Action.UNREACHABLE:
                return [str(self._plan.trouble)]
            case Action.BUSY:
                return ["a deployment is under way on it"]
            case Action.UNCHANGED:
                return ["it runs the new system already"]
            case Action.STAGED:
                return ["the new system is its boot default already, and runs from the next start"]
            case _:
                return []

    # --- up --------------------------------------------------------------------------------

    async def _activate(self, old: StorePath | None) -> None:
        await self._tracker.acquire(self._plan.host.name)
        try:
            await self._attempt(old)
        except BaseException:
            self._tracker.finish(self._plan.host.name, HostStatus.FAILED)
            raise

    async def _attempt(self, old: StorePath | None) -> None:
        self._began = time.monotonic()
        way = await self._reach.way()
        attempt = Attempt(
            transport=way,
            old=old,
            new=self._plan.system.out_path,
            spec=self._spec(way),
            progress=lambda state: self._tell(_WORDS.get(state, state), ephemeral=True),
        )
        try:
            state = await attempt.run()
        except Absent:
            # The state says that it was copied, the host says otherwise: the host is right.
            await self._copying.ensure_built()
            await closure.copy(self._plan.system, way)
            state = await self._once_more(attempt)
        self._awaiting, self._is_unchanged = attempt, state is None
        self._confirm_by = time.monotonic() + self._plan.host.activation.confirm.seconds
        self._tell("unchanged" if state is None else "waiting for the commit", ephemeral=True)
        if attempt.failed_before:
            text = f"{self._plan.host.name}: failed before it already: {attempt.failed_before}"
            pulumi.log.warn(text, resource=self._component)

    async def _once_more(self, attempt: Attempt) -> State | None:
        try:
            return await attempt.run()
        except Absent:
            name = self._plan.host.name
            remedy = "is garbage being collected on it? run `pulumi up` again"
            raise outcome.not_deployed(
                name, "its closure was copied, and is gone", remedy
            ) from None

    def _spec(self, way: Transport) -> AttemptSpec:
        return AttemptSpec.of(
            way,
            by=f"{getpass.getuser()}@{socket.gethostname()} (pid {os.getpid()})",
            release=self._record.line(self._plan.host),
            stack=_stack(),
            values={
                **self._record.names(self._plan.host),
                "toplevel": self._plan.system.out_path.path,
            },
        )

    async def _after(self, args: pulumi.ResourceHookArgs) -> None:
        said = (args.new_outputs or {}).get("stdout")
        try:
            outcome = protocol.outcome(self._plan.host.name, said)
        except ReplyError as error:  # the engine only warns of what a hook raises after the fact
            self._gave_up(str(error))
            return
        self._copying.timings.mark("switch", self._began)
        seconds = time.monotonic() - self._began
        self._tracker.finish(self._plan.host.name, HostStatus.COMMITTED)
        self._tell(f"{outcome}: {self._plan.system.out_path.path} ({seconds:.1f} s)")

    async def _on_error(self, args: pulumi.ErrorHookArgs) -> bool:
        """Send the commit again where the connection, not the host, was the reason.

        A host that can't be asked to commit is asked to go back: it is never left unconfirmed
        by a deployer that is still there.
        """
        if self._awaiting is None:  # the hook failed, and has said why
            return False
        newest = args.errors[0] if args.errors else ""
        name = self._plan.host.name
        unsent = [error for error in args.errors if not self._is_of_the_host(error)]
        why = f"the commit could not be sent ({protocol.last_line(unsent[0] if unsent else '')})"
        if self._is_of_the_host(newest):
            word = protocol.last_word(name, newest)
            return self._gave_up(f"{word} ({why})" if unsent else word)
        is_final = CANCELED in newest or any(reason in newest for reason in FOR_GOOD)
        if not is_final and len(unsent) <= COMMIT_TRIES and time.monotonic() < self._confirm_by:
            await asyncio.sleep(PAUSE)
            return True
        if self._is_unchanged:
            remedy = f"it runs {self._plan.system.out_path.path} already; run `pulumi up` again"
            return self._gave_up(str(outcome.not_deployed(name, why, remedy)))
        last = await self._awaiting.abort_and_wait(why)
        return self._gave_up(str(outcome.aborted(name, why, last)))

    def _is_of_the_host(self, error: str) -> bool:
        """Whether the host, and not the way to it, was the reason."""
        if isinstance(self._reach, Inside):
            found = INSIDE.match(error)
            return found is not None and not self._reach.exec.is_transport_failure(int(found[1]))
        return EXITED in error

    def _gave_up(self, text: str) -> bool:
        """Say why, and that it is not to be tried again."""
        self._tracker.finish(self._plan.host.name, HostStatus.FAILED)
        pulumi.log.error(text, resource=self._component)
        return False

    def _tell(self, text: str, *, ephemeral: bool = False) -> None:
        pulumi.log.info(
            f"{self._plan.host.name}: {text}", resource=self._component, ephemeral=ephemeral
        )


_WORDS: dict[str, str] = {
    State.PREPARED: "starting",
    State.AWAITING: "waiting to be confirmed",
    State.ROLLING_BACK: "rolling back",
    State.ROLLED_BACK: "rolled back",
    State.ROLLBACK_FAILED: "rollback failed",
}
"""States as people read them, where the protocol's own words do not say it."""


def _stack() -> str:
    return f"{pulumi.get_organization()}/{pulumi.get_project()}/{pulumi.get_stack()}"


def _old_path(old_inputs: Mapping[str, Any] | None) -> StorePath | None:
    create = (old_inputs or {}).get("create")
    return protocol.committed_path(create) if isinstance(create, str) else None
