"""One attempt on one host, seen from the deployer: start it, follow it, say how it ended.

The attempt is the host's own (activation protocol): a connection that breaks here changes
nothing there. Whatever the reason, it is opened again until the attempt rests or time is up;
a transport error is never a verdict. An answer that is not in the protocol is one: the host is
not confirmed, and goes back.
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
from ..process.run import Argv
from ..process.stream import lines
from ..transport.transport import Transport
from ..values import StorePath
from . import deployer_checks, outcome, protocol, runner
from .deployer_checks import Unhealthy
from .protocol import CONFIRMABLE, ENDED, Reply, State
from .request import AttemptSpec

PAUSE = 1.0
"""Seconds between two tries to reach a host."""
FIRST_TRIES = 3
"""Times that a host is called which has not said yet that it has begun."""
CALL_TIMEOUT = 90.0
"""Seconds for one `follow`, which the host itself ends after 60."""
LOG_LINES = 20
"""Lines of the activation's log, or of a unit's journal, that a message carries."""
GRACE = 30.0
"""Seconds past the host's own bounds that we wait for its last word."""


class Absent(Exception):  # noqa: N818 not an error: the closure has to be copied first
    """NEW is not on the host."""


@dataclass(slots=True, kw_only=True)
class Attempt:
    """NEW on one host; `old` is None where nothing is known of it."""

    transport: Transport
    old: StorePath | None
    new: StorePath
    spec: AttemptSpec
    progress: Callable[[str], None]
    """Told each state, for people to see."""
    id: str = field(default_factory=lambda: new_id(datetime.now(UTC)))
    failed_before: str = ""
    """Units that had failed on the host before the attempt, in its own words."""
    _log: deque[str] = field(default_factory=lambda: deque(maxlen=LOG_LINES))
    _journal: deque[str] = field(default_factory=lambda: deque(maxlen=LOG_LINES))
    """The last lines of the unit that has failed."""
    _offset: int = 0
    _started: bool = False
    _trouble: HostError | None = None
    """Why the host could not be reached, the last time that it could not."""

    async def run(self) -> State | None:
        """Bring the host to `awaiting-confirm`, found well; None where it runs NEW already.

        Raises:
            Absent: NEW's closure is not on the host; nothing has been changed.
            ActivationError: the host refused NEW, or went back to OLD.
            HostError: not reached, or not understood, within the bounds of an attempt.
        """
        last = await self._rest()
        self.failed_before = last["failedBefore"]
        match last.event:
            case "unchanged":
                return None
            case "absent":
                raise Absent
            case "result" if last.state in CONFIRMABLE:
                if last.state is State.AWAITING:
                    await self._look_from_here()
                return last.state
        raise outcome.failure(self._name, last, self._journal or self._log, self._trouble)

    @property
    def _name(self) -> str:
        return self.transport.host.name

    @property
    def bound(self) -> float:
        """Seconds that the host may take until it rests on NEW or OLD."""
        times = self.spec.activation
        ahead = times.timeout.seconds + times.check_deadline.seconds + times.confirm.seconds
        return ahead + times.timeout.seconds + GRACE

    async def _rest(self) -> Reply:
        """The last line of the attempt, over as many connections as it takes."""
        deadline, tries = time.monotonic() + self.bound, 0
        while time.monotonic() < deadline:
            tries += 1
            try:
                if last := await self._call():
                    return self._own(last)
            except ReplyError as error:
                await self._give_up(error)
                raise
            except HostError as error:
                is_final = not isinstance(error, UnreachableError) or tries >= FIRST_TRIES
                if not self._started and is_final:
                    raise
                self._trouble = error
            await asyncio.sleep(PAUSE)
        raise outcome.no_result(self._name, self.bound, self._trouble)

    async def _call(self) -> Reply | None:
        """One connection: start, or follow what was started; the last line, if it is a last one."""
        last = None
        async for reply in self._replies():
            match reply.event:
                case "attached":
                    self._started, self.id = True, reply["id"] or self.id
                case "started":
                    self._started = True
                    self._own(reply)
                case "log":
                    self._log.append(reply["text"])
                case "journal":
                    self._journal.append(reply["text"])
                case "state":
                    stage = reply["stage"] if reply.state is State.CHECKING else ""
                    self.progress(f"{reply['state']} {stage}".rstrip())
                case "progress":
                    self._offset = reply.number("offset")
                case _:
                    last = self._only(reply, last)
            self._offset = max(self._offset, reply.number("offset"))
        if last is None and not self._started:
            raise self._mute()
        return last

    async def _replies(self) -> AsyncIterator[Reply]:
        argv, stdin = self._command()
        last = None
        try:
            async with lines(argv, timeout=CALL_TIMEOUT, stdin=stdin) as stream:
                async for line in stream:
                    last = protocol.parse(self._name, line)
                    yield last
        except OverlongError as error:
            remedy = "the host counts as unconfirmed; find out what prints there"
            raise protocol.unusable(self._name, error.detail, remedy) from error
        except ProcessError as error:
            # The runner's own exit codes come with a last line that says more.
            if self.transport.is_transport_failure(error.code) or last is None:
                raise self.transport.explain(error) from error

    def _command(self) -> tuple[Argv, bytes]:
        # Published each time: a host that has been rebooted meanwhile has lost the runner, and
        # says with it that the attempt is over.
        if self._started:
            words = protocol.follow_argv(self.id, self._offset)
        else:
            words = protocol.start_argv(self.id, self.old, self.new)
        stdin = runner.text() + (b"" if self._started else self.spec.text)
        return self.transport.argv(*protocol.publish(*words)), stdin

    def _only(self, reply: Reply, before: Reply | None) -> Reply:
        if before:
            detail = f"it ends the attempt twice, with '{before.event}' and '{reply.event}'"
            remedy = "the host counts as unconfirmed; find out who else answers there"
            raise protocol.unusable(self._name, detail, remedy)
        return reply

    def _own(self, last: Reply) -> Reply:
        """Refuse a line about another attempt, or another system, than this one's."""
        if detail := self._strange(last):
            remedy = "the host counts as unconfirmed; find out who else answers there"
            raise protocol.unusable(self._name, detail, remedy)
        return last

    def _strange(self, last: Reply) -> str | None:
        is_running = last.path("current") == self.new or self.spec.activation.mode is Mode.BOOT
        if last.event not in {"started", "result", "unchanged"}:
            return None
        if last.event != "unchanged" and last["id"] != self.id:
            return f"it speaks of the attempt '{last['id']}', and not of {self.id}"
        if last.path("new") != self.new:
            return f"it speaks of '{last['new']}', and not of {self.new.path}"
        if last.event == "result" and last.state in CONFIRMABLE and not is_running:
            return f"it waits to be confirmed, and runs '{last['current']}'"
        return None

    async def _look_from_here(self) -> None:
        """The checks that the deployer makes, while the host waits to be confirmed."""
        checks = self.spec.seen_from(CheckOrigin.DEPLOYER)
        if not checks:
            return
        seconds = max(1.0, self.spec.activation.confirm.seconds - COMMIT_RESERVE)
        self.progress(f"{State.CHECKING} from outside")
        try:
            await deployer_checks.healthy(checks, deadline=seconds)
        except Unhealthy as found:
            raise await self._aborted(f"{found} (seen from the deployer)") from found

    async def _aborted(self, why: str) -> Exception:
        return outcome.aborted(self._name, why, await self.abort_and_wait(why))

    async def abort_and_wait(self, why: str) -> Reply | None:
        """Abort, and wait for the host's last word; None where it has none within its own times.

        A host that can't be told goes back by itself once nobody has confirmed it.
        """
        times = self.spec.activation
        deadline = time.monotonic() + times.confirm.seconds + times.timeout.seconds + GRACE
        while time.monotonic() < deadline:
            last = await self.abort(why)
            if last and last.state in ENDED:
                return last
            await asyncio.sleep(PAUSE)
        return None

    async def _give_up(self, error: ReplyError) -> None:
        if self._started:
            await self.abort(f"an unusable reply: {error}")

    async def abort(self, why: str) -> Reply | None:
        """Take back an attempt that awaits its confirmation; the host's answer, if there is one."""
        argv = self.transport.argv(*protocol.publish(*protocol.abort_argv(self.id, why)))
        last = None
        with contextlib.suppress(ProcessError, HostError):
            seconds = self.spec.activation.call.seconds
            async with lines(argv, timeout=seconds, stdin=runner.text()) as stream:
                async for line in stream:
                    last = self._own(protocol.parse(self._name, line))
        return last

    def _mute(self) -> ReplyError:
        remedy = "log in by hand: does its login shell run commands?"
        return ReplyError(message("no reply", self._name, "it printed nothing", remedy))


def new_id(now: datetime) -> str:
    """An attempt's id: sorts by time, and no two are the same."""
    return f"{now:%Y%m%dT%H%M%S}-{secrets.token_hex(4)}"
