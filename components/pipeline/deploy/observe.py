"""What the hosts run now: one bounded ssh call a host, all at once, reading only."""

import asyncio
from collections.abc import Iterable, Mapping

from ..activation import protocol, runner
from ..activation.protocol import Observation
from ..errors import HostError, ProcessError
from ..process.run import run
from ..transport.ssh import Transport

TIMEOUT = 10.0
"""Seconds for one host; a preview goes on without those that do not answer."""

Observed = Mapping[str, Observation | HostError]
"""What each host said, or why it did not, by host name; empty where nobody was asked."""


async def observe(ways: Iterable[Transport]) -> Observed:
    """Ask each host what it runs. An answer that cannot be had is an answer too."""
    asked = tuple(ways)
    answers = await asyncio.gather(*map(_ask, asked))
    return {way.host.name: answer for way, answer in zip(asked, answers, strict=True)}


async def _ask(way: Transport) -> Observation | HostError:
    argv = way.argv(*protocol.observe_argv())
    try:
        seconds = min(TIMEOUT, way.host.activation.call.seconds)
        answer = await run(argv, timeout=seconds, stdin=runner.text())
        return Observation.of(protocol.parse(way.host.name, answer.stdout))
    except ProcessError as error:
        return way.explain(error)
    except HostError as error:
        return error
