"""What is measured, round by round, and the rows that are made of it.

A row is a median of differences (or ratios) of two runs that were made one after the other, so
that a machine that is busy with something else is busy for both.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median
from typing import Final

from bench import memory
from bench.ground import SIZES, Ground

ALL: Final = SIZES[-1]
_STAGES: Final = re.compile(r"\brelease \d+\.\d s, .+ s\b")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One figure, held against its limit."""

    id: str
    what: str
    value: float
    unit: str
    limit: float

    @property
    def ok(self) -> bool:
        """Whether it is within its limit."""
        return self.value <= self.limit


@dataclass(slots=True, kw_only=True)
class Samples:
    """Every single measurement, in seconds (`memory` in MB), in the order of the rounds."""

    say: Callable[[str], None]
    seconds: dict[str, list[float]] = field(default_factory=dict)
    stages: dict[str, str] = field(default_factory=dict)
    """What the last `up` of each fleet said about where its time went."""

    def add(self, name: str, value: float) -> None:
        """Keep one measurement."""
        self.seconds.setdefault(name, []).append(round(value, 3))
        self.say(f"{name} {value:.2f}")

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
    for _ in range(rounds):
        samples.add("empty preview", ground.empty("preview").seconds)
        samples.add("preview", ground.preview(ALL).seconds)
        ground.observe(ALL, "never")
        samples.add("preview, never observing", ground.preview(ALL).seconds)
        ground.observe(ALL, "auto")
        samples.add("empty up", ground.empty("up").seconds)
        samples.add("up, nothing changed", ground.up(ALL).seconds)


def releases(ground: Ground, samples: Samples, rounds: int) -> None:
    """New releases, by the program and by hand, for each number of hosts in turn."""
    with memory.watch() as peak:
        ground.up(ALL, ground.next_release())
    samples.add("memory", peak.megabytes)
    ground.by_hand(ALL, ground.next_release())
    for _ in range(rounds):
        for size in SIZES:
            samples.add(f"by hand {size}", ground.by_hand(size, ground.next_release()))
            ground.restore(size)
            said = ground.up(size, ground.next_release())
            samples.add(f"up {size}", said.seconds)
            if found := _STAGES.search(said.text):
                samples.stages[f"up {size}"] = found[0]


def rows(samples: Samples) -> list[Row]:
    """The figures and their limits."""
    return [
        *(
            Row(
                id=key,
                what=f"{what}: more than {floor}",
                value=samples.difference(name, floor),
                unit="s",
                limit=limit,
            )
            for key, what, name, floor, limit in _DIFFERENCES
        ),
        Row(
            id="c",
            what="up of a new release: 8 hosts to 1",
            value=samples.ratio(f"up {ALL}", "up 1"),
            unit="ratio",
            limit=1.7,
        ),
        Row(
            id="e",
            what="peak memory of the program's process, up of 8 hosts",
            value=max(samples.seconds["memory"]),
            unit="MB",
            limit=100,
        ),
    ]


_DIFFERENCES: Final = (
    ("a1", "preview, nothing changed, 8 hosts observed", "preview", "empty preview", 1.5),
    ("a2", "the same, not observing", "preview, never observing", "empty preview", 0.5),
    ("b1", "up of a new release, 2 hosts", "up 2", "by hand 2", 3.0),
    ("b2", "up of a new release, 8 hosts", f"up {ALL}", f"by hand {ALL}", 4.5),
    ("d", "up, nothing changed, 8 hosts", "up, nothing changed", "empty up", 2.0),
)
