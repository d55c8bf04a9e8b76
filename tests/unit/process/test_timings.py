"""Where the time of a run goes."""

import asyncio
import re
import time

import pytest

from components.pipeline.process.timings import Stages


def test_nothing_yet() -> None:
    assert str(Stages()) == ""


def test_stages_in_the_order_of_their_beginning() -> None:
    stages = Stages()
    for name in ("release", "evaluate", "build"):
        with stages.span(name):
            pass
    assert re.sub(r"\d\.\d", "N", str(stages)) == "release N s, evaluate N s, build N s"


def test_hosts_side_by_side_count_from_first_to_last() -> None:
    stages = Stages()
    now = time.monotonic()
    stages.mark("switch", now - 2)
    stages.mark("switch", now - 5)
    stages.mark("switch", now - 1)
    assert str(stages) == "switch 5.0 s"


def test_a_stage_that_fails_counts_too() -> None:
    stages = Stages()

    @stages.span("build")
    def build() -> None:
        time.sleep(0.1)
        msg = "no"
        raise ValueError(msg)

    with pytest.raises(ValueError, match="no"):
        build()
    assert float(str(stages).split()[1]) >= 0.1


def test_one_instance_knows_nothing_of_another() -> None:
    one, other = Stages(), Stages()
    with one.span("build"):
        pass
    assert str(other) == ""


async def test_what_is_awaited_counts_and_gives_its_result() -> None:
    stages = Stages()
    assert await stages.timed("build", asyncio.sleep(0.1, "built")) == "built"
    assert 0.1 <= float(str(stages).split()[1]) < 5
