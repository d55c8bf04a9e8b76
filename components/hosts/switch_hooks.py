"""The hooks around `switch`: the attempt, and retries of the commit.

The hook waits for a place in the rollout and brings the host to `awaiting-confirm`; the
resource's own connection, new and made by another client, is the confirmation. A hook that raises
fails the resource with that message alone, and the state stays at OLD.
"""

import asyncio
import getpass
import os
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import pulumi

from ..pipeline.activation import outcome, protocol
from ..pipeline.activation.attempt import Absent, Attempt
from ..pipeline.activation.protocol import State
from ..pipeline.activation.request import AttemptRequest
from ..pipeline.deploy import closure
from ..pipeline.deploy.plan import HostPlan, drift
from ..pipeline.errors import ReplyError
from ..pipeline.transport.transport import Transport
from ..pipeline.values import StorePath
from ..stack.release_record import ReleaseRecord
from ..stack.rollout import HostStatus, RolloutTracker
from . import preview
from .connection import Connection
from .copy_hooks import BuildAndCopy

COMMIT_TRIES: Final = 10
PAUSE: Final = 1.0
"""Seconds before a commit is sent again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedRelease:
    """What the hosts of a release share: one build, one record, one rollout."""

    builder: BuildAndCopy
    record: ReleaseRecord
    tracker: RolloutTracker


class SwitchHooks:
    """The hooks of one host's `switch`; messages appear at `component`."""

    def __init__(
        self,
        plan: HostPlan,
        connection: Connection,
        release: SharedRelease,
        *,
        component: pulumi.Resource,
        root: pulumi.Input[str] | None = None,
    ) -> None:
        self._plan = plan
        self._root = root
        self._connection = connection
        self._builder = release.builder
        self._record = release.record
        self._tracker = release.tracker
        self._component = component
        self._began = time.monotonic()
        self._changes = False
        self._awaiting: Attempt | None = None
        self._is_unchanged = False
        self._confirm_by = 0.0

    def binding(self) -> pulumi.ResourceHookBinding:
        """The hooks, for the options of `switch`."""
        name = self._plan.host.name
        options = pulumi.ResourceHookOptions(on_dry_run=True)
        before = pulumi.ResourceHook(f"{name}-switch", self._before, options)
        if pulumi.runtime.is_dry_run():  # each hook costs a call to the engine, in each preview
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
        """Warn about drift once it is known that `switch` does not change."""

        def warn_about_drift(urn: str) -> None:
            if self._changes:
                return
            self._tracker.skip(self._plan.host.name)
            if line := drift(self._plan, self._plan.system.out_path, urn):
                pulumi.log.warn(line, resource=self._component)

        switch.urn.apply(warn_about_drift)

    async def _before(self, args: pulumi.ResourceHookArgs) -> None:
        self._changes = True
        old = _old_path(args.old_inputs)
        if pulumi.runtime.is_dry_run():
            await self._preview(old, args.urn)
        else:
            await self._activate(old)

    async def _preview(self, old: StorePath | None, urn: str) -> None:
        lines = await preview.lines(self._plan, self._record, old=old, urn=urn, root=self._root)
        pulumi.log.info("\n  ".join(lines), resource=self._component)

    async def _activate(self, old: StorePath | None) -> None:
        await self._tracker.acquire(self._plan.host.name)
        try:
            await self._attempt(old)
        except BaseException:
            self._tracker.finish(self._plan.host.name, HostStatus.FAILED)
            raise

    async def _attempt(self, old: StorePath | None) -> None:
        self._began = time.monotonic()
        transport = await self._connection.transport()
        attempt = Attempt(
            transport=transport,
            old=old,
            new=self._plan.system.out_path,
            request=self._request(transport),
            progress=lambda state: self._log(_PROGRESS.get(state, state), ephemeral=True),
        )
        try:
            state = await attempt.run()
        except Absent:
            # The state says that it was copied, the host says otherwise: the host is right.
            await self._builder.ensure_built()
            await closure.copy(self._plan.system, transport)
            state = await self._run_after_copy(attempt)
        self._awaiting, self._is_unchanged = attempt, state is None
        self._confirm_by = time.monotonic() + self._plan.host.activation.confirm.seconds
        self._log("unchanged" if state is None else "waiting for the commit", ephemeral=True)
        if attempt.failed_before:
            text = f"{self._plan.host.name}: already failed before it: {attempt.failed_before}"
            pulumi.log.warn(text, resource=self._component)

    async def _run_after_copy(self, attempt: Attempt) -> State | None:
        try:
            return await attempt.run()
        except Absent:
            name = self._plan.host.name
            remedy = "is its garbage collector running? run `pulumi up` again"
            raise outcome.not_deployed(
                name, "its closure was copied, and is gone", remedy
            ) from None

    def _request(self, transport: Transport) -> AttemptRequest:
        return AttemptRequest.of(
            transport,
            by=f"{getpass.getuser()}@{socket.gethostname()} (pid {os.getpid()})",
            release=self._record.line(self._plan.host),
            stack=preview.stack(),
            values={
                **self._record.names(self._plan.host),
                "toplevel": self._plan.system.out_path.path,
            },
        )

    async def _after(self, args: pulumi.ResourceHookArgs) -> None:
        stdout = (args.new_outputs or {}).get("stdout")
        try:
            result = protocol.commit_outcome(self._plan.host.name, stdout)
        except (
            ReplyError
        ) as error:  # the engine turns an exception after the operation into a warning
            self._fail(str(error))
            return
        self._builder.timings.mark("switch", self._began)
        seconds = time.monotonic() - self._began
        self._tracker.finish(self._plan.host.name, HostStatus.COMMITTED)
        self._log(f"{result}: {self._plan.system.out_path.path} ({seconds:.1f} s)")

    async def _on_error(self, args: pulumi.ErrorHookArgs) -> bool:
        """Send the commit again if the connection failed, not the host.

        A host that cannot be asked to commit is told to roll back: a deployer that is still
        there never leaves it unconfirmed.
        """
        if self._awaiting is None:  # the hook failed, and has said why
            return False
        newest = args.errors[0] if args.errors else ""
        name = self._plan.host.name
        unsent = [error for error in args.errors if not self._connection.is_host_failure(error)]
        why = f"the commit could not be sent ({protocol.last_line(unsent[0] if unsent else '')})"
        if self._connection.is_host_failure(newest):
            reason = protocol.commit_failure(name, newest)
            return self._fail(f"{reason} ({why})" if unsent else reason)
        is_permanent = self._connection.is_permanent_failure(newest)
        if not is_permanent and len(unsent) <= COMMIT_TRIES and time.monotonic() < self._confirm_by:
            await asyncio.sleep(PAUSE)
            return True
        if self._is_unchanged:
            remedy = f"it already runs {self._plan.system.out_path.path}; run `pulumi up` again"
            return self._fail(str(outcome.not_deployed(name, why, remedy)))
        last = await self._awaiting.abort_and_wait(why)
        return self._fail(str(outcome.aborted(name, why, last)))

    def _fail(self, text: str) -> bool:
        """Report the failure; returns False: the commit must not be sent again."""
        self._tracker.finish(self._plan.host.name, HostStatus.FAILED)
        pulumi.log.error(text, resource=self._component)
        return False

    def _log(self, text: str, *, ephemeral: bool = False) -> None:
        pulumi.log.info(
            f"{self._plan.host.name}: {text}", resource=self._component, ephemeral=ephemeral
        )


_PROGRESS: Final[dict[str, str]] = {
    State.PREPARED: "starting",
    State.AWAITING: "waiting for confirmation",
    State.ROLLING_BACK: "rolling back",
    State.ROLLED_BACK: "rolled back",
    State.ROLLBACK_FAILED: "rollback failed",
}
"""States for people, where the protocol's names are not clear."""


def _old_path(old_inputs: Mapping[str, Any] | None) -> StorePath | None:
    create = (old_inputs or {}).get("create")
    return protocol.committed_path(create) if isinstance(create, str) else None
