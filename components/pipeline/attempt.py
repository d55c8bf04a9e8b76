"""One attempt on one host, seen from the deployer: start it, follow it, say how it ended.

The attempt is the host's own (activation protocol): a connection that breaks here changes
nothing there. Whatever the reason, it is opened again until the attempt rests or time is up;
a transport error is never a verdict.
"""

import asyncio
import contextlib
import secrets
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from components.pipeline import activate
from components.pipeline.activate import CONFIRMABLE, Reply, State
from components.pipeline.errors import (
    ActivationError,
    HostError,
    ProcessError,
    ReplyError,
    message,
    printable,
)
from components.pipeline.grammar import StorePath
from components.pipeline.process import Argv, lines
from components.pipeline.transport import Ssh, explain

PAUSE = 1.0
"""Seconds between two tries to reach a host."""
CALL_TIMEOUT = 90.0
"""Seconds for one `follow`, which the host itself ends after 60."""
LOG_LINES = 20
"""Lines of the activation's log that a message carries."""
GRACE = 30.0
"""Seconds past the host's own bounds that we wait for its last word."""


class Absent(Exception):  # noqa: N818 not an error: the closure has to be copied first
    """NEW is not on the host."""


@dataclass(slots=True, kw_only=True)
class Attempt:
    """NEW on one host; `old` is None where nothing is known of it."""

    ssh: Ssh
    old: StorePath | None
    new: StorePath
    by: str
    progress: Callable[[str], None]
    """Told each state, for people to see."""
    id: str = field(default_factory=lambda: new_id(datetime.now(UTC)))
    _log: deque[str] = field(default_factory=lambda: deque(maxlen=LOG_LINES))
    _offset: int = 0
    _started: bool = False

    async def run(self) -> State | None:
        """Bring the host to `awaiting-confirm`; None where it runs NEW already.

        Raises:
            Absent: NEW's closure is not on the host; nothing has been changed.
            ActivationError: the host refused NEW, or went back to OLD.
            HostError: not reached, or not understood, within the bounds of an attempt.
        """
        limit = self.ssh.host.activation.timeout.seconds
        deadline = time.monotonic() + 2 * limit + GRACE
        while True:
            try:
                if last := await self._call():
                    return self._verdict(last)
            except HostError:
                if not self._started or time.monotonic() > deadline:
                    raise
            if time.monotonic() > deadline:
                raise self._silent()
            await asyncio.sleep(PAUSE)

    async def _call(self) -> Reply | None:
        """One connection: start, or follow what was started; the last line, if it is a last one."""
        last = None
        async for reply in self._replies():
            match reply.event:
                case "started" | "attached":
                    self._started, self.id = True, reply["id"] or self.id
                case "log":
                    self._log.append(reply["text"])
                case "state":
                    self.progress(reply["state"])
                case "progress":
                    self._offset = reply.number("offset")
                case _:
                    last = reply
            self._offset = max(self._offset, reply.number("offset"))
        if last is None and not self._started:
            raise self._mute()
        return last

    async def _replies(self) -> AsyncIterator[Reply]:
        argv, stdin = self._command()
        name, last = self.ssh.host.name, None
        try:
            async with lines(argv, timeout=CALL_TIMEOUT, stdin=stdin) as stream:
                async for line in stream:
                    last = activate.parse(name, line)
                    yield last
        except ProcessError as error:
            # The runner's own exit codes come with a last line that says more.
            if error.code in (None, 255) or last is None:
                raise explain(self.ssh, error) from error

    def _command(self) -> tuple[Argv, bytes]:
        # Published each time: a host that has been rebooted meanwhile has lost the runner, and
        # says with it that the attempt is over.
        seconds = self.ssh.host.activation.timeout.seconds
        words = (
            activate.follow_words(self.id, self._offset)
            if self._started
            else activate.start_words(self.id, self.old, self.new, seconds, self.by)
        )
        return self.ssh.argv(*activate.publish(*words)), activate.runner()

    def _verdict(self, last: Reply) -> State | None:
        match last.event:
            case "unchanged":
                return None
            case "absent":
                raise Absent
            case "result" if last.state in CONFIRMABLE:
                return last.state
            case "result":
                raise self._ended(last)
            case "held":
                raise self._held(last)
            case "drifted":
                raise self._drifted(last)
            case "blocked" | "refused":
                raise self._refused(last)
            case "died":
                raise self._died(last)
        raise self._unknown(last)

    def _mute(self) -> ReplyError:
        remedy = "log in by hand: does its login shell run commands?"
        return ReplyError(message("no reply", self.ssh.host.name, "it printed nothing", remedy))

    def _silent(self) -> ActivationError:
        return self._failure("no end in time", "look at /var/lib/flakeup/current on the host")

    def _unknown(self, last: Reply) -> ActivationError:
        return self._failure(f"an answer that we do not know: {last.event}", "update flakeup")

    def _refused(self, last: Reply) -> ActivationError:
        return self._failure(f"refused: {last['reason']}", "nothing was changed")

    def _held(self, last: Reply) -> ActivationError:
        who = last["by"] or "somebody else"
        to = f" ({last['state']}, to {last['new']})" if last["new"] else ""
        remedy = "wait for its end, then run `pulumi up` again"
        return self._failure(f"it is being deployed by {who}{to}", remedy)

    def _died(self, last: Reply) -> ActivationError:
        detail = f"the activation stopped in state {last['state']}"
        remedy = f"the host runs {last['current']}; run `pulumi up` again"
        return self._failure(detail, remedy)

    def _drifted(self, last: Reply) -> ActivationError:
        detail = f"it runs {last['current']}, and the last deployment was {last['old']}"
        return self._failure(
            detail,
            f"to bring it to this release all the same, `pulumi up --replace` {self.ssh.host.name}"
            "-switch (the URN is in the preview)",
        )

    def _ended(self, last: Reply) -> ActivationError:
        state = last.state or last["state"]
        code = last["code"]
        units = last["units"].split()
        what = f"unit {', '.join(units)} failed" if units else f"the activation ended with {code}"
        journal = [line for line in last["journal"].split("|") if line][-20:]
        shown = journal or self._log
        detail = "\n  ".join([f"{what}: {_ENDED.get(str(state), state)}", *shown])
        if state is State.BLOCKED:
            remedy = _BLOCKED.get(code, "see the checks of the new system; nothing was changed")
        else:
            current = last["current"] or "no system of ours"
            remedy = f"it runs {current} now; mend the release and run `pulumi up` again"
        return self._failure(detail, remedy)

    def _failure(self, detail: str, remedy: str) -> ActivationError:
        where = self.ssh.host.name
        text = printable(detail, 4000, lines=True)
        return ActivationError(message("not deployed", where, text, remedy))


_ENDED = {
    "rolled-back": "rolled back to the system from before",
    "rollback-failed": "and the system from before could not be activated either",
    "blocked": "refused",
    "superseded": "another deployment took over",
}
_BLOCKED = {
    "100": "the init interface changed: this release needs a reboot; nothing was changed",
    "11": "another switch-to-configuration held its lock; run `pulumi up` again",
}


def new_id(now: datetime) -> str:
    """An attempt's id: sorts by time, and no two are the same."""
    return f"{now:%Y%m%dT%H%M%S}-{secrets.token_hex(4)}"


async def abort(attempt: Attempt, why: str) -> Reply | None:
    """Take back an attempt that awaits its confirmation; the host's answer, if there is one."""
    words = (activate.ENTRY, "abort", attempt.id, why)
    last = None
    with contextlib.suppress(ProcessError, HostError):
        async with lines(attempt.ssh.argv(*words), timeout=CALL_TIMEOUT) as stream:
            async for line in stream:
                last = activate.parse(attempt.ssh.host.name, line)
    return last
