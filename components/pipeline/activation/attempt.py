"""One attempt on one host, from the deployer: start it, follow it, report its result.

The host owns the attempt: a broken connection changes nothing there and is opened again until the
attempt waits, ends or times out. A transport error therefore decides nothing. A reply outside the
protocol does: the host is not confirmed, and rolls back.
"""

import asyncio
import contextlib
import secrets
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from ..config.activation import COMMIT_RESERVE, Mode
from ..config.checks import CheckOrigin
from ..errors import HostError, OverlongError, ProcessError, ReplyError, UnreachableError, message
from ..process.run import Argv, run
from ..process.stream import lines
from ..transport.transport import Transport
from ..values import StorePath
from . import deployer_checks, outcome, protocol, runner
from .deployer_checks import CheckError
from .log_excerpt import LogExcerpt
from .protocol import CONFIRMABLE, ENDED, Reply, State
from .request import AttemptRequest
from .skipped_lines import SkippedLines

PAUSE = 1.0
"""Seconds between two tries to reach a host."""
FIRST_TRIES = 3
"""Calls to a host that has not reported the start of the attempt yet."""
CALL_TIMEOUT = 90.0
"""Seconds for one `follow`; the host itself ends it after 60."""
JOURNAL_LINES = 20
"""Lines of a unit's journal in a message."""
IN_PROGRESS = 10
"""Exit code of the runner for an attempt that goes on."""
GRACE = 30.0
"""Seconds to wait for a result beyond the host's own timeouts."""


_PASSING = frozenset({"attached", "started", "state", "log", "journal", "progress"})
"""Events that do not end a call."""


class Absent(Exception):  # noqa: N818 not an error: the closure has to be copied first
    """NEW is not on the host."""


@dataclass(slots=True, kw_only=True)
class Attempt:
    """An attempt to bring one host to NEW; `old` is None if nothing is known of the host."""

    transport: Transport
    old: StorePath | None
    new: StorePath
    request: AttemptRequest
    progress: Callable[[str], None]
    """Called with each state, for people."""
    id: str = field(default_factory=lambda: new_id(datetime.now(UTC)))
    failed_before: str = ""
    """Units that had failed on the host before the attempt, separated by spaces."""
    warnings: str = ""
    """Warnings that NEW's activation printed, separated by ` | `."""
    _log: LogExcerpt = field(default_factory=LogExcerpt)
    _journal: deque[str] = field(default_factory=lambda: deque(maxlen=JOURNAL_LINES))
    """The last journal lines of the failed unit."""
    _offset: int = 0
    _started: bool = False
    _last_error: HostError | None = None
    """Why the host could not be reached, the last time that happened."""

    async def run(self) -> State | None:
        """Bring the host to `awaiting-confirm`, healthy; None if it runs NEW already.

        Raises:
            Absent: NEW's closure is not on the host; nothing was changed.
            ActivationError: the host refused NEW, or rolled back to OLD.
            HostError: not reached, or an unusable reply, within the attempt's timeouts.
        """
        last = await self._follow()
        self.failed_before, self.warnings = last["failedBefore"], last["warnings"]
        match last.event:
            case "unchanged":
                return None
            case "absent":
                raise Absent
            case "result" if last.state in CONFIRMABLE:
                if last.state is State.AWAITING:
                    await self._check_from_deployer()
                return last.state
        raise outcome.failure(self._name, last, self._journal or self._log.lines, self._last_error)

    @property
    def _name(self) -> str:
        return self.transport.host.name

    @property
    def bound(self) -> float:
        """Seconds until the host must be on NEW or back on OLD."""
        times = self.request.activation
        ahead = times.timeout.seconds + times.check_deadline.seconds + times.confirm.seconds
        return ahead + times.timeout.seconds + GRACE

    async def _follow(self) -> Reply:
        """The attempt's last line, over as many connections as it takes."""
        deadline, tries = time.monotonic() + self.bound, 0
        while time.monotonic() < deadline:
            tries += 1
            try:
                if last := await self._call():
                    return self._require_own(last)
            except ReplyError as error:
                await self._abort_unusable(error)
                raise
            except HostError as error:
                is_final = not isinstance(error, UnreachableError) or tries >= FIRST_TRIES
                if not self._started and is_final:
                    raise
                self._last_error = error
            await asyncio.sleep(PAUSE)
        raise outcome.no_result(self._name, self.bound, self._last_error)

    async def _call(self) -> Reply | None:
        """One connection, which starts or follows the attempt; its last line, if there is one."""
        last = None
        async for reply in self._replies():
            match reply.event:
                case "attached":
                    self._started, self.id = True, reply["id"] or self.id
                case "started":
                    self._started = True
                    self._require_own(reply)
                case "log" | "journal" if not self.request.activation.show_output:
                    pass
                case "log":
                    self._log.add(reply["text"])
                case "journal":
                    self._journal.append(reply["text"])
                case "state":
                    stage = reply["stage"] if reply.state is State.CHECKING else ""
                    self.progress(f"{reply['state']} {stage}".rstrip())
                case "progress":
                    self._offset = reply.number("offset")
                case _:
                    last = self._require_first(reply, last)
            self._offset = max(self._offset, reply.number("offset"))
        if last is None and not self._started:
            raise self._no_reply()
        return last

    async def _replies(self) -> AsyncIterator[Reply]:
        argv, stdin = self._command()
        last, skipped = None, SkippedLines()
        try:
            async with lines(argv, timeout=CALL_TIMEOUT, stdin=stdin) as stream:
                async for line in stream:
                    if reply := skipped.parse(self._name, line):
                        last = reply
                        yield last
        except OverlongError as error:
            remedy = "the host is not confirmed; find out what prints there"
            raise protocol.unusable(self._name, error.detail, remedy) from error
        except ProcessError as error:
            # The runner's own exit codes come with a last line that explains them.
            if self.transport.is_transport_failure(error.code) or not (last or skipped.first):
                raise self.transport.explain(error) from error
            if error.code == IN_PROGRESS:
                return
        if skipped.first and (last is None or last.event in _PASSING):
            raise skipped.first  # the line that ends a call is missing, or is one of these

    def _command(self) -> tuple[Argv, bytes]:
        # Published each time: a host that has rebooted has lost the runner, and needs it to report
        # that the attempt is over.
        if self._started:
            verb = protocol.follow_argv(self.id, self._offset)
        else:
            verb = protocol.start_argv(self.id, self.old, self.new)
        stdin = runner.text() + (b"" if self._started else self.request.text)
        return self.transport.argv(*protocol.publish_argv(*verb)), stdin

    def _require_first(self, reply: Reply, before: Reply | None) -> Reply:
        if before:
            detail = f"it reports two results, '{before.event}' and '{reply.event}'"
            remedy = "the host is not confirmed; find out what else replies there"
            raise protocol.unusable(self._name, detail, remedy)
        return reply

    def _require_own(self, last: Reply) -> Reply:
        """Refuse a line about another attempt or another system."""
        if detail := self._mismatch(last):
            remedy = "the host is not confirmed; find out what else replies there"
            raise protocol.unusable(self._name, detail, remedy)
        return last

    def _mismatch(self, last: Reply) -> str | None:
        is_running = last.path("current") == self.new or self.request.activation.mode is Mode.BOOT
        if last.event not in {"started", "result", "unchanged"}:
            return None
        if last.event != "unchanged" and last["id"] != self.id:
            return f"it reports attempt '{last['id']}', not {self.id}"
        if last.path("new") != self.new:
            return f"it reports '{last['new']}', not {self.new.path}"
        if last.event == "result" and last.state in CONFIRMABLE and not is_running:
            return f"it awaits confirmation, but runs '{last['current']}'"
        return None

    async def _check_from_deployer(self) -> None:
        """Run the deployer's checks while the host awaits confirmation."""
        checks = self.request.checks_from(CheckOrigin.DEPLOYER)
        if not checks:
            return
        activation = self.request.activation
        seconds = max(1.0, activation.confirm.seconds - COMMIT_RESERVE)
        self.progress(f"{State.CHECKING} from the deployer")
        try:
            await deployer_checks.run_checks(
                checks, deadline=seconds, show_body=activation.show_output
            )
        except CheckError as found:
            way = ", not through its jump" if self.transport.host.proxy_jump else ""
            raise await self._abort_error(f"{found} (from the deployer{way})") from found

    async def _abort_error(self, why: str) -> Exception:
        return outcome.aborted(self._name, why, await self.abort_and_wait(why))

    async def abort_and_wait(self, why: str) -> Reply | None:
        """Abort, and wait for the result; the last reply within the host's own timeouts.

        None if it never answered: a host that cannot be told rolls back by itself when its
        confirmation times out.
        """
        times = self.request.activation
        deadline = time.monotonic() + times.confirm.seconds + times.timeout.seconds + GRACE
        last = None
        while time.monotonic() < deadline:
            last = await self.abort(why) or last
            if last and last.state in ENDED:
                break
            await asyncio.sleep(PAUSE)
        return last

    async def _abort_unusable(self, error: ReplyError) -> None:
        if self._started:
            await self.abort(f"an unusable reply: {error}")

    async def abort(self, why: str) -> Reply | None:
        """Abort an attempt that awaits confirmation; the host's last reply, if there is one."""
        argv = self.transport.argv(*protocol.publish_argv(*protocol.abort_argv(self.id, why)))
        last, skipped = None, SkippedLines()
        with contextlib.suppress(ProcessError, HostError):
            seconds = self.request.activation.call.seconds
            async with lines(argv, timeout=seconds, stdin=runner.text()) as stream:
                async for line in stream:
                    if reply := skipped.parse(self._name, line):
                        last = self._require_own(reply)
        return last

    async def hang_up(self) -> None:
        """End a commit that does not answer; the host's attempt must have ended before."""
        argv = self.transport.argv(*protocol.hang_up_argv(self.new))
        with contextlib.suppress(ProcessError):
            await run(argv, timeout=self.request.activation.call.seconds)

    def _no_reply(self) -> ReplyError:
        remedy = "log in by hand: does its login shell run commands?"
        return ReplyError(message("no reply", self._name, "it printed nothing", remedy))


def new_id(now: datetime) -> str:
    """A unique id for an attempt, which sorts by time."""
    return f"{now:%Y%m%dT%H%M%S}-{secrets.token_hex(4)}"
