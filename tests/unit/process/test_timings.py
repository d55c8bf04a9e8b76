"""Where the time of a run goes."""

import asyncio
import re
import time

import pytest

from components.pipeline.process.timings import Timings


def test_nothing_yet() -> None:
    assert str(Timings()) == ""


def test_stages_in_the_order_of_their_beginning() -> None:
    timings = Timings()
    for name in ("release", "evaluate", "build"):
        with timings.span(name):
            pass
    assert re.sub(r"\d\.\d", "N", str(timings)) == "release N s, evaluate N s, build N s"


def test_hosts_side_by_side_count_from_first_to_last() -> None:
    timings = Timings()
    now = time.monotonic()
    timings.mark("switch", now - 2)
    timings.mark("switch", now - 5)
    timings.mark("switch", now - 1)
    assert str(timings) == "switch 5.0 s"


def test_a_stage_that_fails_counts_too() -> None:
    timings = Timings()

    @timings.span("build")
    def build() -> None:
        time.sleep(0.1)
        msg = "no"
        raise ValueError(msg)

    with pytest.raises(ValueError, match="no"):
        build()
    assert float(str(timings).split()[1]) >= 0.1


def test_one_instance_knows_nothing_of_another() -> None:
    one, other = Timings(), Timings()
    with one.span("build"):
        pass
    assert str(other) == ""


async def test_what_is_awaited_counts_and_gives_its_result() -> None:
    timings = Timings()
    assert await timings.timed("build", asyncio.sleep(0.1, "built")) == "built"
    assert 0.1 <= float(str(timings).split()[1]) < 5
