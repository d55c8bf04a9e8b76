"""What a switch does to changed units: the rules of NixOS's program, and of the demo's."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from components.pipeline.process.run import run
from harness import hosts as containers
from harness.incus import own_prefix
from tests.e2e.runner_hosts import RunnerHost, build, copy, launch
from tests.switch_cases import CASES, Case, units

pytestmark = pytest.mark.e2e

PREFIX = own_prefix("flakeup-rules")
SAID = ("stopping", "NOT restarting", "reloading", "restarting", "starting")


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """The lists of a switch, by what they begin with, and its exit code."""

    code: int
    text: str
    lists: dict[str, list[str]]

    def of(self, unit: str) -> str:
        return ", ".join(word for word in SAID if unit in self.lists.get(word, []))


@pytest.fixture(scope="module")
def told(runner_place: Path, app: Path) -> Iterator[Told]:
    """What the switch from all units before to all units after says."""
    hosts: dict[str, dict[str, object]] = {side: {"units": units(side)} for side in ("old", "new")}
    systems = asyncio.run(build(runner_place, app, hosts))
    containers.remove(PREFIX)
    try:
        host = launch(PREFIX, runner_place, {"web1": "root"})["web1"]
        asyncio.run(copy(host, systems.values()))
        yield asyncio.run(_switch(host, *(systems[side].out_path.path for side in ("old", "new"))))
    finally:
        containers.remove(PREFIX)


async def _switch(host: RunnerHost, old: str, new: str) -> Told:
    program = "bin/switch-to-configuration"
    there = [name for name in units("old") if "@." not in name and "/" not in name]
    started = " ".join([*there, "each@1.service"])
    begin = f"{old}/{program} test && systemctl start {started}"
    done = await run(host.ssh.argv("sh", "-c", begin), timeout=60, check=False)
    assert done.code == 0, done.stderr_text
    done = await run(host.ssh.argv(f"{new}/{program}", "test"), timeout=60, check=False)
    lists: dict[str, list[str]] = {}
    for line in done.stderr_text.splitlines():
        what, _, names = line.partition(": ")
        word = what.removesuffix(" the following units").removesuffix(
            " the following changed units"
        )
        if word in SAID:
            lists[word] = names.split(", ")
    return Told(code=done.code, text=done.stderr_text, lists=lists)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_is_done_about_a_unit(told: Told, case: Case) -> None:
    assert told.of(case.name) == case.told


def test_nothing_else_is_touched(told: Told) -> None:
    assert told.code == 0, told.text
    named = {unit for names in told.lists.values() for unit in names}
    assert named <= {case.name for case in CASES}
