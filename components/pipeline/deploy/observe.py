"""What the hosts run now: one read-only call per host, with a timeout, all in parallel."""

import asyncio
from collections.abc import Iterable, Mapping

from ..activation import protocol, runner
from ..activation.protocol import Observation, Reply
from ..errors import HostError, OverlongError, ProcessError
from ..process.bounded import FILE_LIMIT
from ..process.run import run
from ..transport.transport import Transport

TIMEOUT = 10.0
"""Seconds for one host; a preview continues without those that do not answer."""

Observed = Mapping[str, Observation | HostError]
"""What each host reported, or why it did not, by host name; empty if none was asked."""


async def observe(transports: Iterable[Transport]) -> Observed:
    """Ask each host what it runs; a host that cannot be asked gives its error."""
    asked = tuple(transports)
    replies = await asyncio.gather(*map(observe_host, asked))
    return {one.host.name: reply for one, reply in zip(asked, replies, strict=True)}


async def observe_host(transport: Transport) -> Observation | HostError:
    """Ask one host what it runs; or why it cannot be asked."""
    argv = transport.argv(*protocol.observe_argv())
    try:
        seconds = min(TIMEOUT, transport.host.activation.call.seconds)
        done = await run(argv, timeout=seconds, stdin=runner.text(), limit=FILE_LIMIT)
        return Observation.of(_reply(transport.host.name, done.stdout))
    except OverlongError as error:
        remedy = "look at what its login shell prints"
        return protocol.unusable(transport.host.name, error.detail, remedy)
    except ProcessError as error:
        return transport.explain(error)
    except HostError as error:
        return error


def _reply(host: str, printed: bytes) -> Reply:
    """The event in what `observe` printed, or the error for its first line."""
    text = printed.decode(errors="replace")
    return protocol.last_reply(host, text) or protocol.parse(host, printed)
