"""The protocol of the runner: its arguments, and its replies, one JSON object per line.

Host output is untrusted: lines have at most 64 KiB, only known fields are used, store
paths are parsed, and everything is made printable before it is kept.
"""

import contextlib
import hashlib
import json
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from ..errors import ReplyError, message, printable
from ..process.run import LINE_LIMIT
from ..values import StorePath
from . import runner

RUNNER_PATH = "/run/flakeup/switch"
"""The runner as last published, a link; the resource `switch` calls it."""
RUNNER_ARGV = ("/bin/sh", RUNNER_PATH)
"""How it is called: `/run` may be mounted noexec."""

_FOLDER = RUNNER_PATH.rsplit("/", 1)[0]
SEARCHED = 4 * LINE_LIMIT
"""Characters at the end of a command's output that are searched for an event."""
_BEGIN = '{"schema"'

_PUBLISH = (
    f"umask 077; mkdir -p {_FOLDER} && cd {_FOLDER}"
    ' && { head -c "$1" >"$2.$$" && test "$(stat -c %s "$2.$$")" = "$1"'
    ' || { rm -f "$2.$$"; exit 1; }; } && chmod 0700 "$2.$$" && mv -f "$2.$$" "$2"'
    ' && ln -sfn "$2" "switch.$$" && mv -fT "switch.$$" switch'
    f' && cd / && runner={_FOLDER}/$2 && shift 2 && exec /bin/sh "$runner" "$@"'
)
"""Written under a temporary name, verified, renamed: a shell must never read a script that changes,
nor a truncated one. The rest of stdin is for the verb."""


_HANG_UP = r"""
for folder in /proc/[0-9]*; do
    text=$(tr '\0' ' ' <"$folder/cmdline") || continue
    case $text in *"$1/$2 $3"*) ;; *) continue ;; esac
    read -r _ _ _ _ terminal _ <<END
$(sed 's/.*) //' "$folder/stat")
END
    [ "$terminal" = 0 ] || continue
    pid=${folder#/proc/} name=
    while [ "${pid:-0}" -gt 1 ]; do
        read -r name <"/proc/$pid/comm"
        case $name in sshd*) kill -KILL "$pid" && break ;; esac
        pid=$(sed -n 's/^PPid:[[:space:]]*//p' "/proc/$pid/status")
    done
    kill -KILL "${folder#/proc/}"
done 2>/dev/null
exit 0
"""
"""Kills each process whose command line has the commit, and the sshd that it descends from, which
ends the connection; not if somebody typed it into a terminal.

The parts of that command are arguments, so that it does not find itself.
"""


class State(StrEnum):
    """The state of an attempt."""

    PREPARED = "prepared"
    ACTIVATING = "activating"
    CHECKING = "checking"
    AWAITING = "awaiting-confirm"
    COMMITTING = "committing"
    COMMITTED = "committed"
    ROLLING_BACK = "rolling-back"
    ROLLED_BACK = "rolled-back"
    ROLLBACK_FAILED = "rollback-failed"
    BLOCKED = "blocked"
    SUPERSEDED = "superseded"


CONFIRMABLE = frozenset({State.AWAITING, State.COMMITTING, State.COMMITTED})
"""States in which the commit may be sent."""
ENDED = frozenset(
    {State.COMMITTED, State.ROLLED_BACK, State.ROLLBACK_FAILED, State.BLOCKED, State.SUPERSEDED}
)
"""Final states."""


def publish_argv(*verb: str) -> tuple[str, ...]:
    """The remote command that installs the runner from stdin, then runs one of its verbs."""
    text = runner.text()
    return ("/bin/sh", "-c", _PUBLISH, "flakeup", str(len(text)), runner_name(text), *verb)


def runner_name(text: bytes) -> str:
    """The name of a published runner in `/run/flakeup`.

    It follows from its content, so that another version of flakeup never replaces a file that an
    attempt runs.
    """
    return f"runner-{hashlib.sha256(text).hexdigest()[:16]}"


def observe_argv() -> tuple[str, ...]:
    """The remote command that observes the host: reads the runner from stdin, writes nothing."""
    return ("/bin/sh", "-s", "--", "observe")


def start_argv(attempt: str, old: StorePath | None, new: StorePath) -> tuple[str, ...]:
    """`start`: claim the host for NEW; OLD is None if nothing is known of it.

    The spec of the attempt follows the runner on stdin.
    """
    return ("start", attempt, old.path if old else "-", new.path)


def follow_argv(attempt: str, offset: int) -> tuple[str, ...]:
    """`follow`, from this byte of the log."""
    return ("follow", attempt, str(offset))


def abort_argv(attempt: str, why: str) -> tuple[str, ...]:
    """`abort`: roll back an attempt that awaits confirmation."""
    return ("abort", attempt, printable(why, 900))


def commit_argv(new: StorePath) -> tuple[str, ...]:
    """The commit as argv, for root."""
    return (*RUNNER_ARGV, new.path)


def commit_command(new: StorePath, *, root: bool) -> str:
    """The commit as a command line; short: a preview shows the old one and the new one."""
    return f"{'' if root else 'sudo -n '}{' '.join(RUNNER_ARGV)} {new.path}"


def hang_up_argv(new: StorePath) -> tuple[str, ...]:
    """The remote command that ends a connection whose commit does not answer.

    The provider's command cannot be cancelled at its own end.
    """
    folder, _, name = RUNNER_PATH.rpartition("/")
    return ("/bin/sh", "-c", _HANG_UP, "flakeup", folder, name, new.path)


def committed_path(text: str) -> StorePath | None:
    """The store path at the end of a commit's command, of earlier versions too; else None.

    In a command for OpenSSH it ends the quoted command line of the host.
    """
    try:
        return StorePath.parse(text.rsplit(" ", 1)[-1].strip("'"))
    except ValueError:
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """One line of the runner."""

    event: str
    fields: dict[str, str]

    def __getitem__(self, field: str) -> str:
        return self.fields.get(field, "")

    @property
    def state(self) -> State | None:
        """The attempt's state, if the line has a known one."""
        try:
            return State(self["state"])
        except ValueError:
            return None

    def path(self, field: str) -> StorePath | None:
        """A store path of the line; None if it has none."""
        try:
            return StorePath.parse(self[field])
        except ValueError:
            return None

    def number(self, field: str) -> int:
        """A number of the line; 0 if it is not one."""
        return int(self[field]) if self[field].isascii() and self[field].isdigit() else 0


class NoEventError(ReplyError):
    """A line that no runner has printed: a login shell's, for example."""


class _NoEvent(ValueError):  # noqa: N818 becomes a NoEventError
    pass


def parse(host: str, line: bytes) -> Reply:
    """Parse one line of the runner.

    Raises:
        NoEventError: not a JSON object with an event.
        ReplyError: an event that is too long, or of another schema.
    """
    try:
        fields = _object(line)
    except ValueError as error:
        shown = printable(line.decode(errors="replace").strip())
        detail = f"{error}: '{shown}'"
        remedy = "the host is not confirmed; check what its login shell prints"
        kind = NoEventError if isinstance(error, _NoEvent) else ReplyError
        raise kind(_unusable(host, detail, remedy)) from error
    event = fields.pop("event")
    return Reply(event=event, fields=fields)


def last_reply(host: str, text: str) -> Reply | None:
    """The last event in what a command printed; None without one.

    A login shell may print lines of its own before and after it, and the beginning of its line.
    Only the end of a long text is searched.
    """
    for line in reversed(text[-SEARCHED:].splitlines()):
        start = line.find(_BEGIN)
        if start >= 0:
            with contextlib.suppress(ReplyError):
                return parse(host, line[start:].encode(errors="replace"))
    return None


def _object(line: bytes) -> dict[str, str]:
    if len(line) > LINE_LIMIT:
        msg = f"a line of more than {LINE_LIMIT} bytes"
        raise ValueError(msg)
    try:
        # A log may contain any bytes, and the host cuts long lines anywhere.
        value: Any = json.loads(line.decode(errors="replace"))
    except (json.JSONDecodeError, RecursionError):
        msg = "not JSON"
        raise _NoEvent(msg) from None
    if not isinstance(value, dict) or not isinstance(value.get("event"), str):
        msg = "not an event"
        raise _NoEvent(msg)
    if value.pop("schema", None) != 1:
        msg = "unknown schema"
        raise ValueError(msg)
    return {
        printable(str(key)): printable(text, 4000)
        for key, text in value.items()
        if isinstance(text, str)
    }


def unusable(host: str, detail: str, remedy: str) -> ReplyError:
    """The error for a reply that the protocol does not allow here."""
    return ReplyError(_unusable(host, detail, remedy))


def _unusable(host: str, detail: str, remedy: str) -> str:
    return message("unusable reply", host, detail, remedy)


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What a host reports about itself."""

    current: StorePath | None
    profile: StorePath | None
    boot_id: str
    arch: str
    failed: tuple[str, ...]
    free_nix: int
    attempt: str
    attempt_new: StorePath | None
    switching: bool
    committed_from: StorePath | None = None
    """What it ran before its last commit, if that commit's system still runs."""
    committed_by: str = ""
    """The stack of that commit."""

    @classmethod
    def of(cls, reply: Reply) -> "Observation":
        """The observation in a reply of `observe`."""
        return cls(
            current=reply.path("current"),
            profile=reply.path("profile"),
            boot_id=reply["bootId"],
            arch=reply["arch"],
            failed=tuple(reply["failed"].split()),
            free_nix=reply.number("freeNix"),
            attempt=reply["attempt"],
            attempt_new=reply.path("attemptNew"),
            switching=reply["switching"] == "yes",
            committed_from=reply.path("committedFrom"),
            committed_by=reply["committedBy"],
        )
