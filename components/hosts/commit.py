"""The commit of one host's attempt: what it printed, when it is sent again, when it takes too long.

The engine counts a commit as done once the provider's command has exited with 0, whatever it
printed, and a hook that runs later cannot fail it. So a host whose answer cannot be used is asked
itself; if it has not committed, the host counts as failed, and the program fails at its end.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Final

import pulumi

from ..pipeline.activation import commit_reply, outcome
from ..pipeline.activation.attempt import GRACE, Attempt
from ..pipeline.activation.protocol import Reply
from ..pipeline.config.activation import Activation
from ..pipeline.deploy import commit_check
from ..pipeline.deploy.plan import HostPlan
from ..pipeline.errors import ActivationError, ReplyError, printable
from ..stack.rollout import HostStatus, RolloutTracker
from .connection import Connection

FAILED: Final = "failed"
"""The outcome of a host whose deployment failed; an error says why."""
UNCHANGED: Final = "unchanged"
TRIES: Final = 10
PAUSE: Final = 1.0
"""Seconds before a commit is sent again."""
HANG_UP_PAUSE: Final = 5.0
"""Seconds for a commit to end by itself once the host's attempt has ended."""
WARNINGS_LIMIT: Final = 1000
"""Characters of the warnings of an activation."""


def limit(activation: Activation) -> float:
    """Seconds after which the host, and no longer the commit, is asked how it ended."""
    return activation.confirm.seconds + activation.commit.seconds + GRACE


class Commit:
    """The commit of one host; `say` logs for people, errors and warnings appear at `component`."""

    def __init__(
        self,
        plan: HostPlan,
        connection: Connection,
        tracker: RolloutTracker,
        *,
        component: pulumi.Resource,
        say: Callable[[str], None],
    ) -> None:
        self._plan = plan
        self._name = plan.host.name
        self._new = plan.system.out_path
        self._connection = connection
        self._tracker = tracker
        self._component = component
        self._say = say
        self._attempt: Attempt | None = None
        self._is_unchanged = False
        self._began = self._confirm_by = 0.0
        self._watch: asyncio.Task[None] | None = None
        self._late: str | None = None
        self.result: str | None = None
        """The outcome of a commit that succeeded."""

    def expect(self, attempt: Attempt, *, is_unchanged: bool, began: float) -> None:
        """Expect the commit of this attempt, which has to end in time."""
        self._attempt, self._is_unchanged, self._began = attempt, is_unchanged, began
        self._confirm_by = time.monotonic() + self._plan.host.activation.confirm.seconds
        self._watch = asyncio.ensure_future(self._watch_time(attempt))

    async def after(self, args: pulumi.ResourceHookArgs) -> None:
        """Report the outcome; the engine turns an exception into a warning."""
        self._stop_watching()
        stdout = (args.new_outputs or {}).get("stdout")
        try:
            reply = commit_reply.parse(self._name, stdout, self._new)
        except ReplyError as error:
            try:
                await self._ask(str(error))
            except ActivationError as failed:
                again = f"; the same release once more: pulumi up --replace '{args.urn}'"
                self._fail(f"{failed}{again}")
                self._tracker.fail(self._name)
                return
            reply = Reply(event="unchanged" if self._is_unchanged else "committed", fields={})
            pulumi.log.warn(f"{error}; the host says that it has", resource=self._component)
        self._succeed(reply)

    async def on_error(self, args: pulumi.ErrorHookArgs) -> bool:
        """Send the commit again if the connection failed, not the host.

        A host that cannot be asked to commit is told to roll back: a deployer that is still
        there never leaves it unconfirmed.
        """
        if self._attempt is None:  # the hook failed, and has said why
            return False
        if self._late is not None:
            return self._fail(self._late)
        newest = args.errors[0] if args.errors else ""
        unsent = [error for error in args.errors if not self._connection.is_host_failure(error)]
        last = commit_reply.last_line(unsent[0] if unsent else "")
        why = f"the commit could not be sent ({last})"
        if self._connection.is_host_failure(newest):
            self._stop_watching()
            if reason := commit_reply.failure(self._name, newest):
                return self._fail(f"{reason} ({why})" if unsent else reason)
            said = commit_reply.last_line(newest)
            return await self._explain(f"the commit failed, and the host gave no reason ({said})")
        is_permanent = self._connection.is_permanent_failure(newest)
        if not is_permanent and len(unsent) <= TRIES and time.monotonic() < self._confirm_by:
            await asyncio.sleep(PAUSE)
            return True
        self._stop_watching()
        return await self._explain(why)

    async def _explain(self, why: str) -> bool:
        """Report what the host says about a commit that failed."""
        try:
            await self._ask(why)
        except ActivationError as error:
            return self._fail(str(error))
        remedy = f"it already runs {self._new.path}; run `pulumi up` again"
        return self._fail(str(outcome.not_deployed(self._name, why, remedy)))

    async def _ask(self, why: str) -> None:
        """Ask the host what became of the commit, and abort what still awaits it.

        Raises:
            ActivationError: it has not committed.
        """
        if self._attempt is None:
            raise outcome.not_deployed(self._name, why, outcome.REMEDY)
        if self._is_unchanged:  # there is no attempt to abort
            await commit_check.ask_host(
                self._attempt.transport, self._new, why, "run `pulumi up` again"
            )
        else:
            await commit_check.ask_attempt(self._attempt, why)

    async def _watch_time(self, attempt: Attempt) -> None:
        """End a commit that takes too long: the provider's command has no timeout."""
        seconds = limit(self._plan.host.activation)
        await asyncio.sleep(seconds)
        why = f"the commit did not end within {seconds:.0f} s"
        try:
            await self._ask(why)
            remedy = f"it runs {self._new.path}: it had already committed; run `pulumi up` again"
            self._late = str(outcome.not_deployed(self._name, why, remedy))
        except ActivationError as error:
            self._late = str(error)
        await asyncio.sleep(HANG_UP_PAUSE)
        await attempt.hang_up()
        await asyncio.sleep(HANG_UP_PAUSE)
        self._fail(
            f"{self._late}; its connection stays open: press Ctrl-C twice to end `pulumi up`"
        )

    def _stop_watching(self) -> None:
        if self._watch:
            self._watch.cancel()

    def _succeed(self, reply: Reply) -> None:
        self.result = commit_reply.outcome(reply)
        self._tracker.finish(self._name, HostStatus.COMMITTED)
        seconds = time.monotonic() - self._began
        self._say(f"{self.result}: {self._new.path} ({seconds:.1f} s)")
        texts = (self._attempt.warnings if self._attempt else "", reply["warnings"])
        warnings = dict.fromkeys(part for text in texts for part in text.split(" | ") if part)
        if warnings:
            shown = printable(" | ".join(warnings), WARNINGS_LIMIT)
            text = f"{self._name}: committed, but its activation warned: {shown}"
            pulumi.log.warn(text, resource=self._component)

    def _fail(self, text: str) -> bool:
        """Report the failure; returns False: the commit must not be sent again."""
        self._stop_watching()
        self._tracker.finish(self._name, HostStatus.FAILED)
        pulumi.log.error(text, resource=self._component)
        return False
