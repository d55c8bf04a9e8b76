"""What a commit printed, and what its failure says.

The commit runs in the host's login shell, which may print lines of its own.
"""

from ..errors import printable
from ..values import StorePath
from . import protocol
from .protocol import Reply

COMMITTED = frozenset({"committed", "unchanged"})
"""Events of a successful commit."""


def parse(host: str, stdout: object, new: StorePath | None = None) -> Reply:
    """The event that a successful commit of `new` printed: committed, or unchanged.

    Without `new` it may be the commit of any system.

    Raises:
        ReplyError: it printed something else.
    """
    text = stdout if isinstance(stdout, str) else ""
    reply = protocol.last_reply(host, text)
    if reply is None:
        shown = printable(text.strip())
        remedy = "check what its login shell prints"
        detail = (
            f"the commit printed no reply: '{shown}'" if shown else "the commit printed nothing"
        )
        raise protocol.unusable(host, detail, remedy)
    remedy = "check which program answers on that host"
    if reply.event not in COMMITTED:
        raise protocol.unusable(host, f"the commit printed '{reply.event}'", remedy)
    if new and reply.path("toplevel") != new:
        detail = f"it committed '{reply['toplevel']}', not {new.path}"
        raise protocol.unusable(host, detail, remedy)
    return reply


def outcome(reply: Reply) -> str:
    """The outcome in the event of a successful commit, for people."""
    return reply["outcome"] or reply.event


def failure(host: str, text: str) -> str | None:
    """The runner's reason in the error of a failed commit, for people; None if it gave none."""
    reply = protocol.last_reply(host, text)
    if reply is None or not reply["reason"]:
        return None
    current = f"; it runs {reply['current']} now" if reply["current"] else ""
    return f"not deployed: {host}: {reply['reason']}{current}; run `pulumi up` again"


def last_line(text: str) -> str:
    """The last line of an engine error, printable and short: earlier ones repeat it."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return printable(lines[-1] if lines else "no reason given", 300)
