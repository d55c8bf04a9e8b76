"""What became of a commit whose answer cannot be used: the host itself is asked."""

from ..activation import outcome
from ..activation.attempt import Attempt
from ..activation.protocol import Observation, State
from ..config.activation import Activation, Mode
from ..transport.transport import Transport
from ..values import StorePath
from .observe import observe_host


async def ask_attempt(attempt: Attempt, why: str) -> None:
    """Return if the host has committed the attempt's system; `why` its answer cannot be used.

    A host that still awaits the confirmation is aborted, and waited for.

    Raises:
        ActivationError: it has not, or cannot be asked.
    """
    host = attempt.transport.host
    seen = await observe_host(attempt.transport)
    if isinstance(seen, Observation) and _has_settled(
        seen, attempt.new, attempt.request.activation
    ):
        return
    last = await attempt.abort_and_wait(why)
    if last is None or last.state is not State.COMMITTED:
        raise outcome.aborted(host.name, why, last)


async def ask_host(transport: Transport, new: StorePath, why: str, remedy: str) -> None:
    """Return if the host runs and boots `new`, without an attempt of this run.

    Raises:
        ActivationError: it does not, or cannot be asked; `remedy` says what to do.
    """
    host = transport.host
    seen = await observe_host(transport)
    if not isinstance(seen, Observation):
        raise outcome.not_deployed(host.name, f"{why}; {seen}", remedy)
    if not _has_settled(seen, new, host.activation):
        runs = seen.current.path if seen.current else "no known system"
        boots = seen.profile.path if seen.profile else "no known system"
        detail = f"{why}; it runs {runs}, and boots {boots}"
        raise outcome.not_deployed(host.name, detail, remedy)


def _has_settled(seen: Observation, new: StorePath, activation: Activation) -> bool:
    """Whether the host runs and boots `new`, and no attempt is under way."""
    is_running = seen.current == new or activation.mode is Mode.BOOT
    return is_running and seen.profile == new and not seen.attempt
