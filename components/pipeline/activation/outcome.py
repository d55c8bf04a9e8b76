"""The error for an attempt that did not reach NEW.

Its message has: the host, what happened, the failed unit's last journal lines, what the host runs
now, and what to do.
"""

from collections.abc import Iterable

from ..errors import ActivationError, HostError, message, printable
from .protocol import Reply, State

DETAIL_LIMIT = 4000
REMEDY = "fix the release, then run `pulumi up` again"

UNCONFIRMED = "22"
"""Exit code of the runner for a confirmation that timed out."""

REBOOTED = "23"
"""Exit code of the runner for an attempt that a reboot ended."""

_ENDED: dict[State | None, str] = {
    State.ROLLED_BACK: "rolled back to the previous system",
    State.SUPERSEDED: "that was left as it is",
    State.ROLLING_BACK: "it is still rolling back",
    State.COMMITTING: "its commit is still under way",
}


def failure(
    host: str, last: Reply, log: Iterable[str] = (), trouble: HostError | None = None
) -> ActivationError:
    """The error for the last line of an attempt.

    `log` has the last lines of the failed unit or of the activation; `trouble` is why the host
    could not be reached meanwhile, and so was not confirmed.
    """
    match last.event:
        case "result":
            return _ended(host, last, log, trouble)
        case "held":
            return _locked_by_other(host, last)
        case "drifted":
            return _drifted(host, last)
        case "blocked" | "refused":
            return not_deployed(host, f"refused: {last['reason']}", "nothing was changed")
        case "died":
            detail = f"the activation stopped in state {last['state']}"
            remedy = f"the host runs {last['current']}; run `pulumi up` again"
            return not_deployed(host, detail, remedy)
    return not_deployed(host, f"unknown reply: {last.event}", "update flakeup")


def not_deployed(host: str, detail: str, remedy: str) -> ActivationError:
    """The error for a host that is not on NEW."""
    text = printable(detail, DETAIL_LIMIT, lines=True)
    return ActivationError(message("not deployed", host, text, remedy))


def aborted(host: str, why: str, last: Reply | None) -> ActivationError:
    """The error for an attempt aborted because of `why`; `last` is the host's last reply."""
    if last is None:
        remedy = f"the host could not be told; its own timer rolls it back; {REMEDY}"
        return not_deployed(host, why, remedy)
    if last.state is State.COMMITTED:
        remedy = f"it runs {last['current']}: it had already committed; run `pulumi up` again"
        return not_deployed(host, why, remedy)
    if last["exit"] == REBOOTED and last["reason"]:
        why = f"{why}: {last['reason']}"
    return not_deployed(host, f"{why}: {_ending(last)}", _remedy(host, last))


def no_result(host: str, seconds: float, trouble: HostError | None) -> ActivationError:
    """The error for an attempt without a result after `seconds`."""
    why = f" ({trouble})" if trouble else ""
    return not_deployed(
        host,
        f"no result from the host after {seconds:.0f} s{why}",
        "its own timer rolls it back; once it answers, run `pulumi up` again",
    )


def _locked_by_other(host: str, last: Reply) -> ActivationError:
    who = last["by"] or "somebody else"
    to = f" ({last['state']}, to {last['new']})" if last["new"] else ""
    remedy = "wait until it ends, then run `pulumi up` again"
    return not_deployed(host, f"it is being deployed by {who}{to}", remedy)


def _drifted(host: str, last: Reply) -> ActivationError:
    return not_deployed(
        host,
        f"it runs {last['current']}, and the last deployment was {last['old']}",
        f"to deploy this release anyway, {_replace(host)}",
    )


def _replace(host: str) -> str:
    return f"`pulumi up --replace` {host}-switch (the URN is in the preview)"


def _ended(
    host: str, last: Reply, log: Iterable[str], trouble: HostError | None
) -> ActivationError:
    reason = last["reason"] or "no reason given"
    if trouble and last["exit"] == UNCONFIRMED:
        reason += f" ({trouble})"
    shown = list(log)
    if last.state is State.BLOCKED:
        return not_deployed(
            host, "\n  ".join([f"refused: {reason}", *shown]), "nothing was changed"
        )
    detail = "\n  ".join([f"{reason}: {_ending(last)}", *shown])
    return not_deployed(host, detail, _remedy(host, last))


def _ending(last: Reply) -> str:
    """How an attempt ended, to follow the reason."""
    if last.state is not State.ROLLBACK_FAILED:
        return _ENDED.get(last.state, f"it ended in an unknown state: {last['state']}")
    if not last["old"]:
        return "and there is no previous system to roll back to"
    tries = last.number("tries")
    times = f" after {tries} {'try' if tries == 1 else 'tries'}" if tries else ""
    trouble = last["trouble"] or "the previous system could not be activated"
    return f"the rollback has not succeeded{times}: {trouble}"


def _remedy(host: str, last: Reply) -> str:
    """What the host runs now, and what to do."""
    current = last["current"] or "no known system"
    match last.state:
        case State.ROLLBACK_FAILED if last["old"]:
            return (
                f"it runs {current} now, and goes on trying to roll back by itself; log in and"
                f" look (`journalctl -u 'flakeup-*'`), or {REMEDY}"
            )
        case State.SUPERSEDED:
            boots = last["profile"]
            default = f" and boots {boots}" if boots and boots != last["current"] else ""
            return (
                f"it runs {current}{default} now; to deploy this release anyway, {_replace(host)}"
            )
        case State.ROLLING_BACK | State.COMMITTING:
            return "it goes on by itself; once it has ended, run `pulumi up` again"
    return f"it runs {current} now; {REMEDY}"
