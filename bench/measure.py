"""Measurements of a fleet, in rounds.

A figure is the median of the differences (or ratios) of two consecutive runs, so that other load on
the machine affects both.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median
from typing import Final

from bench import memory
from bench.testbed import Testbed
from harness.command_result import CommandResult

UNCHANGED: Final = 5
"""The minimum number of rounds of commands without changes, which take a few seconds."""
_STAGES: Final = re.compile(r"\brelease \d+\.\d s, .+ s\b")


@dataclass(slots=True, kw_only=True)
class Samples:
    """All measurements in seconds (`memory` in MB), in the order of the rounds."""

    say: Callable[[str], None]
    seconds: dict[str, list[float]] = field(default_factory=dict)
    stages: dict[str, str] = field(default_factory=dict)
    """The timings that the last run of each kind printed."""

    def add(self, name: str, value: float) -> None:
        """Add a measurement."""
        self.seconds.setdefault(name, []).append(round(value, 3))
        self.say(f"{name} {value:.2f}")

    def add_up(self, name: str, result: CommandResult) -> None:
        """Add the seconds of an `up`, and the timings that it printed."""
        self.add(name, result.seconds)
        if found := _STAGES.search(result.text):
            self.stages[name] = found[0]

    def difference(self, name: str, baseline: str) -> float:
        """The median difference between `name` and `baseline`, in seconds."""
        pairs = zip(self.seconds[name], self.seconds[baseline], strict=True)
        return round(median(one - other for one, other in pairs), 2)

    def ratio(self, name: str, base: str) -> float:
        """The median ratio of `name` to `base`."""
        pairs = zip(self.seconds[name], self.seconds[base], strict=True)
        return round(median(one / other for one, other in pairs), 2)


def unchanged(testbed: Testbed, samples: Samples, rounds: int) -> None:
    """Measure previews and updates without changes, and those of an empty program."""
    hosts = max(testbed.scale.sizes)
    for _ in range(max(rounds, UNCHANGED)):
        samples.add("empty preview", testbed.empty("preview").seconds)
        samples.add("preview", testbed.preview(hosts).seconds)
        testbed.observe(hosts, "never")
        samples.add("preview, never observing", testbed.preview(hosts).seconds)
        testbed.observe(hosts, "auto")
        samples.add("empty up", testbed.empty("up").seconds)
        samples.add("up, nothing changed", testbed.up(hosts).seconds)


def releases(testbed: Testbed, samples: Samples, rounds: int) -> None:
    """Measure new releases, by the program and by the script, for each number of hosts."""
    hosts = max(testbed.scale.sizes)
    with memory.watch() as peak:
        testbed.up(hosts, testbed.next_release())
    samples.add("memory", peak.megabytes)
    testbed.deploy_by_script(hosts, testbed.next_release())
    for _ in range(rounds):
        for size in testbed.scale.sizes:
            samples.add(f"script {size}", testbed.deploy_by_script(size, testbed.next_release()))
            testbed.restore(size)
            samples.add_up(f"up {size}", testbed.up(size, testbed.next_release()))


def slow_releases(testbed: Testbed, samples: Samples, rounds: int) -> None:
    """Measure new releases with a slow activation, without a preview, for each number of hosts."""
    for _ in range(rounds):
        for size in testbed.scale.sizes:
            testbed.restore(size)
            result = testbed.up(size, testbed.next_release(), preview=False)
            samples.add_up(f"slow up {size}", result)
