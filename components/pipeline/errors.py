"""Every error that flakeup raises, and the form of messages.

    FlakeupError              str(error) is the message that a person reads
    ├── ConfigError           all problems of a stack's config at once
    ├── RefError              a ref that does not exist, is ambiguous, or has moved
    ├── EvaluationError       a flake that does not evaluate, or has no such attribute
    ├── BuildError            a derivation that does not build
    ├── CopyError             a closure that could not be copied
    ├── HostError             a host that cannot be used
    │   ├── HostKeyError      its host key does not match
    │   ├── UnreachableError  no connection, or it broke for good
    │   └── ReplyError        a reply outside the protocol
    ├── ActivationError       a host that refused NEW, or rolled back to OLD
    ├── IncusError            an Incus server that cannot be used, or did not do what was asked
    │   ├── IncusRefusedError       the server refused a request, or failed to carry it out
    │   │   ├── IncusNotFoundError      what the request is about does not exist
    │   │   └── IncusConflictError      it was changed since it was read
    │   ├── IncusForbiddenError     this client may not make the request
    │   ├── IncusUnavailableError   the server does not respond
    │   └── IncusPinError           the server's certificate is not the one that the stack pins
    ├── DockerError           a Docker daemon that cannot be used, or did not do what was asked
    │   ├── DockerRefusedError      the daemon refused a request, or failed to carry it out
    │   │   ├── DockerNotFoundError     what the request is about does not exist
    │   │   ├── DockerConflictError     it is in use, or exists already
    │   │   └── DockerForbiddenError    it is forbidden
    │   ├── DockerUnavailableError  the daemon does not respond
    │   └── DockerKeyError          host key mismatch of the daemon's machine
    ├── RegistryError         a registry of images that refused, or cannot be used
    └── ProcessError          a command that failed, was killed or took too long
        ├── OverdueError      it took longer than it may
        └── OverlongError     more output, or a longer line of it, than is read

A message has the form `<what>: <where>: <detail>. <remedy>`, in lower case.
"""

import shlex
from collections.abc import Iterable
from dataclasses import dataclass

ELLIPSIS = "…"
TAIL_LINES = 20
"""Lines of a failed command's stderr that its message carries."""


def message(what: str, where: str, detail: str, remedy: str = "") -> str:
    """Join the non-empty parts of a message.

    After a detail of several lines, such as a log, the remedy is on its own line.
    """
    detail = detail.rstrip(". \n")
    head = ": ".join(part for part in (what, where, detail) if part)
    if not remedy:
        return head
    return f"{head}\n{remedy}" if "\n" in detail else f"{head}. {remedy}"


def printable(text: str, limit: int = 60, *, lines: bool = False) -> str:
    r"""Make `text` safe to print: it can move no cursor, and colour, hide or reorder no text.

    Whatever Unicode calls control, format, surrogate, unassigned or a separator other than the
    space is escaped (`\x1b`, `\u202e`): this covers C0, DEL, C1 and the bidi overrides. At most
    `limit` characters are returned; `…` marks a cut. With `lines`, line breaks stay, and the end of
    a long text is kept instead of its beginning, since errors come last.
    """
    if lines:
        cut = text[-limit:] if len(text) > limit else text
        pieces = [char if char == "\n" else _escaped(char) for char in reversed(cut)]
        kept = _fit(pieces, limit, whole=len(cut) == len(text))
        return "".join(reversed(kept))
    cut = text[: limit + 1]
    return "".join(_fit([_escaped(char) for char in cut], limit, whole=len(cut) == len(text)))


def _escaped(char: str) -> str:
    return char if char.isprintable() else char.encode("unicode_escape").decode("ascii")


def _fit(pieces: list[str], limit: int, *, whole: bool) -> list[str]:
    """Take as many pieces as fit; an escape is never cut in two."""
    if whole and sum(map(len, pieces)) <= limit:
        return pieces
    kept, room = [], limit - len(ELLIPSIS)
    for piece in pieces:
        room -= len(piece)
        if room < 0:
            break
        kept.append(piece)
    return [*kept, ELLIPSIS]


class FlakeupError(Exception):
    """An expected error: `str(error)` is the message for a person."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One problem of a config; `value` is already printable."""

    path: str
    value: str
    why: str
    remedy: str

    def line(self, project: str) -> str:
        """The problem as the user sees it, on one line."""
        return message(f"config {project}:{self.path}", self.value, self.why, self.remedy)


class ConfigError(FlakeupError):
    """All problems of a stack's config, sorted by path."""

    def __init__(self, problems: Iterable[Problem], *, project: str, stack: str = "") -> None:
        self.problems = tuple(sorted(set(problems), key=lambda one: (one.path, one.why)))
        count = len(self.problems)
        head = f"{count} problem{'' if count == 1 else 's'} in the config"
        if stack:
            head += f" of stack {printable(stack)}"
        super().__init__("\n".join([head, *(problem.line(project) for problem in self.problems)]))


class RefError(FlakeupError):
    """A ref that does not exist, is ambiguous or has moved, or a server that does not answer."""


class EvaluationError(FlakeupError):
    """A flake that does not evaluate, or has no such attribute."""


class BuildError(FlakeupError):
    """A derivation that does not build."""


class CopyError(FlakeupError):
    """A closure that could not be copied."""


class HostError(FlakeupError):
    """A host that cannot be used."""


class HostKeyError(HostError):
    """A host whose key does not match the pinned one."""


class UnreachableError(HostError):
    """A host that does not answer, or whose connection broke for good."""


class ReplyError(HostError):
    """A reply outside the protocol."""


class ActivationError(FlakeupError):
    """A host that refused NEW, or rolled back to OLD."""


class IncusError(FlakeupError):
    """An Incus server that cannot be used, or did not do what it was asked for."""


class IncusRefusedError(IncusError):
    """A request that the server refused, or failed to carry out.

    `reason` is the server's own text, for a caller whose message can say more of what it means.
    """

    def __init__(self, text: str, *, reason: str) -> None:
        self.reason = reason
        super().__init__(text)


class IncusNotFoundError(IncusRefusedError):
    """What a request is about does not exist."""


class IncusConflictError(IncusRefusedError):
    """A change of an outdated version: another client changed the object first."""


class IncusForbiddenError(IncusError):
    """A request that this client has no permission for."""


class IncusUnavailableError(IncusError):
    """An Incus server that does not respond; a change may have been made, or not."""


class IncusPinError(IncusError):
    """An Incus server whose certificate is not the one that the stack pins."""


class DockerError(FlakeupError):
    """A Docker daemon that cannot be used, or did not do what it was asked for."""


class DockerRefusedError(DockerError):
    """A request that the daemon refused, or failed to carry out.

    `reason` is the daemon's own text, for a caller whose message can say more of what it means.
    """

    def __init__(self, text: str, *, reason: str) -> None:
        self.reason = reason
        super().__init__(text)


class DockerNotFoundError(DockerRefusedError):
    """What a request is about does not exist."""


class DockerConflictError(DockerRefusedError):
    """What a request is about is in use, or exists already."""


class DockerForbiddenError(DockerRefusedError):
    """What the daemon forbids, such as removing a network that containers are in."""


class DockerUnavailableError(DockerError):
    """A Docker daemon that does not respond: what was asked for may be done, or not."""


class DockerKeyError(DockerError):
    """A Docker daemon on a machine whose host key does not match the pinned one."""


class RegistryError(FlakeupError):
    """A registry of images that refused, or cannot be used."""


class ProcessError(FlakeupError):
    """A command that failed, was killed, or took too long.

    `code` is None if it did not exit by itself, negative if a signal ended it. `detail` is its
    stderr, already printable; `tail` has its last lines. `remedy` is what helps whatever the
    command was for, such as to install it; mostly empty.
    """

    def __init__(
        self, *, argv: tuple[str, ...], code: int | None, detail: str, remedy: str = ""
    ) -> None:
        self.argv = argv
        self.code = code
        self.detail = detail
        self.remedy = remedy
        super().__init__(message(f"{argv[0]} failed", self.command, self._reason(), remedy))

    @property
    def command(self) -> str:
        """The command line, shortened."""
        return printable(shlex.join(self.argv), 300)

    @property
    def tail(self) -> str:
        """The last lines of the command's stderr."""
        return self.last_lines(TAIL_LINES)

    def last_lines(self, count: int) -> str:
        """The last `count` lines of the command's stderr, or its exit status."""
        ended = "no output" if self.code is None else f"exit status {self.code}"
        return "\n".join(self.detail.splitlines()[-count:]) or ended

    def _reason(self) -> str:
        match self.code:
            case None:
                ended = ""
            case code if code < 0:
                ended = f"ended by signal {-code}"
            case code:
                ended = f"exit status {code}"
        return ": ".join(part for part in (ended, self.tail if self.detail else "") if part)


class OverdueError(ProcessError):
    """A command that was ended because it took longer than it may."""


class OverlongError(ProcessError):
    """A command that printed more, or a longer line, than is read."""
