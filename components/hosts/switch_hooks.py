"""The hooks around `switch`: the attempt before it, and what became of it.

The hook waits for a place in the rollout and brings the host to `awaiting-confirm`; the
resource's own connection, new and made by another client, is the confirmation. A hook that raises
fails the resource with that message alone, and the state stays at OLD.
"""

import getpass
import os
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import pulumi
from pulumi_command import local, remote

from ..pipeline.activation import commit_reply, outcome, protocol
from ..pipeline.activation.attempt import Absent, Attempt
from ..pipeline.activation.protocol import State
from ..pipeline.activation.request import AttemptRequest
from ..pipeline.deploy import closure, commit_check
from ..pipeline.deploy.plan import Action, HostPlan, drift
from ..pipeline.errors import ActivationError, ReplyError
from ..pipeline.transport.transport import Transport
from ..pipeline.values import InvalidValue, StorePath
from ..stack.release_record import ReleaseRecord
from ..stack.rollout import HostStatus, RolloutTracker
from . import preview
from .commit import FAILED, UNCHANGED, Commit
from .connection import Connection
from .copy_hooks import BuildAndCopy


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
        self._commit = Commit(
            plan, connection, release.tracker, component=component, say=self._say_committed
        )

    def binding(self) -> pulumi.ResourceHookBinding:
        """The hooks, for the options of `switch`."""
        name = self._plan.host.name
        options = pulumi.ResourceHookOptions(on_dry_run=True)
        before = pulumi.ResourceHook(f"{name}-switch", self._before, options)
        if pulumi.runtime.is_dry_run():  # each hook costs a call to the engine, in each preview
            return pulumi.ResourceHookBinding(before_create=[before], before_update=[before])
        after = pulumi.ResourceHook(f"{name}-switch-after", self._commit.after)
        return pulumi.ResourceHookBinding(
            before_create=[before],
            before_update=[before],
            after_create=[after],
            after_update=[after],
            on_error=[pulumi.ErrorHook(f"{name}-switch-error", self._commit.on_error)],
        )

    def outcome(self, switch: local.Command | remote.Command) -> pulumi.Output[str]:
        """What became of `switch` in this run, once that is known; `failed` for a failed host."""
        values = pulumi.Output.all(switch.urn, switch.create, switch.stdout)
        outcome: pulumi.Output[str] = values.apply(lambda it: self._outcome(*it))
        return outcome.recover(lambda _: FAILED)

    async def _outcome(self, urn: str, create: str | None, stdout: str | None) -> str:
        if self._changes:
            return self._commit.result or FAILED
        name = self._plan.host.name
        self._tracker.skip(name)
        drifted = drift(self._plan, self._plan.system.out_path, urn)
        if drifted:
            pulumi.log.warn(drifted, resource=self._component)
        try:
            return commit_reply.outcome(commit_reply.parse(name, stdout))
        except ReplyError as error:
            if protocol.committed_path(create or "") != self._plan.system.out_path:
                return FAILED  # it is no target of this run
            why = f"the state has no outcome of its last commit ({error})"
            return await self._measure(why, urn, is_reported=drifted is not None)

    async def _measure(self, why: str, urn: str, *, is_reported: bool) -> str:
        """The outcome of an unchanged `switch` whose state has none, by what the host runs.

        The engine does not run it again, so the host fails in each run until it is replaced.
        """
        name, new = self._plan.host.name, self._plan.system.out_path
        remedy = f"repair: pulumi up --replace '{urn}'"
        if pulumi.runtime.is_dry_run():
            if self._plan.action in (Action.UNCHANGED, Action.STAGED):
                return UNCHANGED
            if not is_reported:
                pulumi.log.warn(f"{name}: {why}; {remedy}", resource=self._component)
            return FAILED
        try:
            await commit_check.ask_host(await self._connection.transport(), new, why, remedy)
        except (ActivationError, InvalidValue) as error:
            self._tracker.fail(name)
            pulumi.log.error(str(error), resource=self._component)
            return FAILED
        return UNCHANGED

    async def _before(self, args: pulumi.ResourceHookArgs) -> None:
        self._changes = True
        old = _old_path(args.old_inputs, args.old_outputs)
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
        self._commit.expect(attempt, is_unchanged=state is None, began=self._began)
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

    def _say_committed(self, text: str) -> None:
        self._builder.timings.mark("switch", self._began)
        self._log(text)

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


def _old_path(
    old_inputs: Mapping[str, Any] | None, old_outputs: Mapping[str, Any] | None
) -> StorePath | None:
    """The last deployed system in the state; None if its commit printed no outcome there."""
    create = (old_inputs or {}).get("create")
    if not isinstance(create, str) or not _has_outcome((old_outputs or {}).get("stdout")):
        return None
    return protocol.committed_path(create)


def _has_outcome(stdout: object) -> bool:
    try:
        return bool(commit_reply.parse("", stdout))
    except ReplyError:
        return False
