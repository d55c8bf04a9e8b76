"""How long the stages of a run take."""

import asyncio
import re
import time

import pytest

from components.pipeline.process.timings import Timings


def test_no_stages() -> None:
    assert str(Timings()) == ""


def test_stages_in_the_order_of_their_start() -> None:
    timings = Timings()
    for name in ("release", "evaluate", "build"):
        with timings.span(name):
            pass
    assert re.sub(r"\d\.\d", "N", str(timings)) == "release N s, evaluate N s, build N s"


def test_parallel_hosts_count_from_first_start_to_last_end() -> None:
    timings = Timings()
    now = time.monotonic()
    timings.mark("switch", now - 2)
    timings.mark("switch", now - 5)
    timings.mark("switch", now - 1)
    assert str(timings) == "switch 5.0 s"


def test_a_failed_stage_counts_too() -> None:
    timings = Timings()

    @timings.span("build")
    def build() -> None:
        time.sleep(0.1)
        msg = "no"
        raise ValueError(msg)

    with pytest.raises(ValueError, match="no"):
        build()
    assert float(str(timings).split()[1]) >= 0.1


def test_instances_are_independent() -> None:
    one, other = Timings(), Timings()
    with one.span("build"):
        pass
    assert str(other) == ""


async def test_timed_counts_and_returns_the_result() -> None:
    timings = Timings()
    assert await timings.timed("build", asyncio.sleep(0.1, "built")) == "built"
    assert 0.1 <= float(str(timings).split()[1]) < 5
