"""Speaks with the runner on a host: renders its arguments, parses its one-line JSON answers.

What a host sends is hostile input: one JSON object a line, at most 64 KiB, known fields only,
store paths parsed, everything printable before it is kept.
"""

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from ..errors import ReplyError, message, printable
from ..process.run import LINE_LIMIT
from ..values import StorePath
from . import runner

ENTRY = "/run/flakeup/switch"
"""Where the runner is published, and what the resource `switch` calls."""

_PUBLISH = (
    f"umask 077; mkdir -p {ENTRY.rsplit('/', 1)[0]}"
    f' && {{ head -c "$1" >{ENTRY}.$$ && test "$(stat -c %s {ENTRY}.$$)" = "$1"'
    f" || {{ rm -f {ENTRY}.$$; exit 1; }}; }} && shift"
    f' && chmod 0700 {ENTRY}.$$ && mv -f {ENTRY}.$$ {ENTRY} && exec {ENTRY} "$@"'
)
"""Written under a new name, looked at, then renamed: a shell must never read a script that
changes, and a connection that breaks must not leave half of one. What follows on stdin is left
to the verb."""


class State(StrEnum):
    """Where an attempt stands (activation protocol, `state` on the host)."""

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
"""States that an attempt does not leave."""


def publish(*words: str) -> tuple[str, ...]:
    """The remote command that publishes the runner from stdin, then runs one verb of it."""
    return ("/bin/sh", "-c", _PUBLISH, "flakeup", str(len(runner.text())), *words)


def observe_argv() -> tuple[str, ...]:
    """The remote command that only looks: the runner is read from stdin, nothing is written."""
    return ("/bin/sh", "-s", "--", "observe")


def start_argv(attempt: str, old: StorePath | None, new: StorePath) -> tuple[str, ...]:
    """`start`: take the host for NEW; OLD is None where nothing is known of the host.

    The spec of the attempt follows the runner on stdin.
    """
    return ("start", attempt, old.path if old else "-", new.path)


def follow_argv(attempt: str, offset: int) -> tuple[str, ...]:
    """`follow`, from a byte of the log on."""
    return ("follow", attempt, str(offset))


def abort_argv(attempt: str, why: str) -> tuple[str, ...]:
    """`abort`: give up an attempt that awaits its confirmation."""
    return ("abort", attempt, printable(why, 900))


def commit_argv(new: StorePath) -> tuple[str, ...]:
    """The commit, for a way that needs no shell."""
    return (ENTRY, new.path)


def commit_command(new: StorePath, *, root: bool) -> str:
    """The text of the resource `switch`: short, since a pull request shows two of them."""
    return f"{'' if root else 'sudo -n '}{ENTRY} {new.path}"


def committed_path(text: str) -> StorePath | None:
    """The store path in a text of `commit_command`; None for another text."""
    try:
        return StorePath.parse(text.rsplit(" ", 1)[-1])
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
        """The attempt's state, where the line says one that we know."""
        try:
            return State(self["state"])
        except ValueError:
            return None

    def path(self, field: str) -> StorePath | None:
        """A store path of the line; None where the host has none."""
        try:
            return StorePath.parse(self[field])
        except ValueError:
            return None

    def number(self, field: str) -> int:
        """A number of the line, 0 where it is none."""
        return int(self[field]) if self[field].isascii() and self[field].isdigit() else 0


def parse(host: str, line: bytes) -> Reply:
    """Parse one line of the runner.

    Raises:
        ReplyError: not one JSON object of text fields in a schema that we know.
    """
    try:
        fields = _object(line)
    except ValueError as error:
        shown = printable(line.decode(errors="replace").strip())
        detail = f"{error}: '{shown}'"
        remedy = "the host counts as unconfirmed; look at what its login shell prints"
        raise unusable(host, detail, remedy) from error
    event = fields.pop("event")
    return Reply(event=event, fields=fields)


def _object(line: bytes) -> dict[str, str]:
    if len(line) > LINE_LIMIT:
        msg = f"a line of more than {LINE_LIMIT} bytes"
        raise ValueError(msg)
    try:
        # A log has bytes of any kind, and the host cuts long lines wherever it likes.
        value: Any = json.loads(line.decode(errors="replace"))
    except (json.JSONDecodeError, RecursionError):
        msg = "not JSON"
        raise ValueError(msg) from None
    if not isinstance(value, dict) or not isinstance(value.get("event"), str):
        msg = "not an event"
        raise ValueError(msg)  # noqa: TRY004 it is a value from outside, not a mistake of ours
    if value.pop("schema", None) != 1:
        msg = "a schema that this version does not know"
        raise ValueError(msg)
    return {
        printable(str(key)): printable(text, 4000)
        for key, text in value.items()
        if isinstance(text, str)
    }


def unusable(host: str, detail: str, remedy: str) -> ReplyError:
    """The error for an answer that is not what the protocol has in this place."""
    return ReplyError(message("unusable reply", host, detail, remedy))


def outcome(host: str, stdout: object) -> str:
    """What a commit that succeeded said: committed, or unchanged.

    Raises:
        ReplyError: it said something else; only these two are success.
    """
    text = stdout if isinstance(stdout, str) else ""
    said = parse(host, text.encode())
    if said.event not in {"committed", "unchanged"}:
        remedy = "look at what answers there; the host counts as unconfirmed"
        raise unusable(host, f"'{said.event}'", remedy)
    return said["outcome"] or said.event


def last_word(host: str, text: str) -> str:
    """What the runner said in the text of a command that failed, for a person."""
    for line in reversed(text.splitlines()):
        start = line.find('{"schema"')
        if start >= 0:
            try:
                reply = parse(host, line[start:].encode())
            except ReplyError:
                continue
            current = f"; it runs {reply['current']} now" if reply["current"] else ""
            return f"not deployed: {host}: {reply['reason']}{current}; run `pulumi up` again"
    return (
        f"not deployed: {host}: the commit failed, and the host did not say why; "
        "run `pulumi up` again"
    )


def last_line(text: str) -> str:
    """The last line of an error of the engine's, printable and short: earlier ones repeat it."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return printable(lines[-1] if lines else "no reason given", 300)


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What a host runs, as it says itself."""

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
    """What it ran before its last commit, where what that led to still runs."""
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
