"""What is measured on a fleet, round by round.

A figure is a median of differences (or ratios) of two runs that were made one after the other, so
that a machine that is busy with something else is busy for both.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median
from typing import Final

from bench import memory
from bench.ground import Ground
from harness.command_result import CommandResult

UNCHANGED: Final = 5
"""At least so many rounds of what takes a few seconds, and ought to take none."""
_STAGES: Final = re.compile(r"\brelease \d+\.\d s, .+ s\b")


@dataclass(slots=True, kw_only=True)
class Samples:
    """Every single measurement, in seconds (`memory` in MB), in the order of the rounds."""

    say: Callable[[str], None]
    seconds: dict[str, list[float]] = field(default_factory=dict)
    stages: dict[str, str] = field(default_factory=dict)
    """Where the time of the last run of a kind went, as it said itself."""

    def add(self, name: str, value: float) -> None:
        """Keep one measurement."""
        self.seconds.setdefault(name, []).append(round(value, 3))
        self.say(f"{name} {value:.2f}")

    def add_up(self, name: str, result: CommandResult) -> None:
        """Keep the seconds of an `up`, and what it says of its stages."""
        self.add(name, result.seconds)
        if found := _STAGES.search(result.text):
            self.stages[name] = found[0]

    def difference(self, name: str, floor: str) -> float:
        """Median of how much more `name` took than `floor`, round by round."""
        pairs = zip(self.seconds[name], self.seconds[floor], strict=True)
        return round(median(one - other for one, other in pairs), 2)

    def ratio(self, name: str, base: str) -> float:
        """Median of how many times as long `name` took as `base`, round by round."""
        pairs = zip(self.seconds[name], self.seconds[base], strict=True)
        return round(median(one / other for one, other in pairs), 2)


def unchanged(ground: Ground, samples: Samples, rounds: int) -> None:
    """Previews and updates that have nothing to do, beside those of an empty program."""
    hosts = max(ground.scale.sizes)
    for _ in range(max(rounds, UNCHANGED)):
        samples.add("empty preview", ground.empty("preview").seconds)
        samples.add("preview", ground.preview(hosts).seconds)
        ground.observe(hosts, "never")
        samples.add("preview, never observing", ground.preview(hosts).seconds)
        ground.observe(hosts, "auto")
        samples.add("empty up", ground.empty("up").seconds)
        samples.add("up, nothing changed", ground.up(hosts).seconds)


def releases(ground: Ground, samples: Samples, rounds: int) -> None:
    """New releases, by the program and by hand, for each number of hosts in turn."""
    hosts = max(ground.scale.sizes)
    with memory.watch() as peak:
        ground.up(hosts, ground.next_release())
    samples.add("memory", peak.megabytes)
    ground.by_hand(hosts, ground.next_release())
    for _ in range(rounds):
        for size in ground.scale.sizes:
            samples.add(f"by hand {size}", ground.by_hand(size, ground.next_release()))
            ground.restore(size)
            samples.add_up(f"up {size}", ground.up(size, ground.next_release()))


def slow_releases(ground: Ground, samples: Samples, rounds: int) -> None:
    """New releases whose activation is slow, without a preview, for each number of hosts."""
    for _ in range(rounds):
        for size in ground.scale.sizes:
            ground.restore(size)
            result = ground.up(size, ground.next_release(), preview=False)
            samples.add_up(f"slow up {size}", result)
