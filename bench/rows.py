"""The rows of the benchmark: the measurements, their testbeds and limits."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from statistics import median
from typing import Final

from bench.guard import guard
from bench.measure import Samples, releases, slow_releases, unchanged
from bench.targets import targets
from bench.testbed import Scale, Testbed

FLEET: Final = Scale(prefix="flakeup-bench", sizes=(1, 2, 8), activation_seconds=2)
SINGLE: Final = Scale(prefix="flakeup-bench1", sizes=(1,), activation_seconds=0)
WIDE: Final = Scale(prefix="flakeup-bench16", sizes=(1, 16), activation_seconds=10)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A measured figure, and its limit."""

    id: str
    what: str
    value: float
    unit: str
    limit: float

    @property
    def ok(self) -> bool:
        """Whether it is within its limit."""
        return self.value <= self.limit


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A row that is not measured yet."""

    id: str
    what: str
    limit: float
    unit: str
    value: Callable[[Samples], float]

    def row(self, samples: Samples) -> Row:
        """The row, from the samples."""
        return Row(
            id=self.id,
            what=self.what,
            value=self.value(samples),
            unit=self.unit,
            limit=self.limit,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Measurements that are made together, and their figures."""

    scale: Scale
    measure: Callable[[Testbed, Samples, int], None]
    """The last argument is the number of rounds; some make more."""
    figures: tuple[Figure, ...]


def _more(key: str, what: str, limit: float, name: str, baseline: str) -> Figure:
    """A figure: how many seconds longer one run takes than another."""
    return Figure(
        id=key,
        what=f"{what}: more than {baseline}",
        limit=limit,
        unit="s",
        value=lambda samples: samples.difference(name, baseline),
    )


def _times(key: str, what: str, limit: float, name: str, base: str) -> Figure:
    """A figure: the ratio of the times of two runs."""
    return Figure(
        id=key,
        what=what,
        limit=limit,
        unit="ratio",
        value=lambda samples: samples.ratio(name, base),
    )


PARTS: Final = (
    Part(
        scale=FLEET,
        measure=unchanged,
        figures=(
            _more("a1", "preview, nothing changed, 8 hosts", 1.5, "preview", "empty preview"),
            _more("a2", "not observing", 0.5, "preview, never observing", "empty preview"),
            _more("d", "up, nothing changed, 8 hosts", 2.0, "up, nothing changed", "empty up"),
        ),
    ),
    Part(
        scale=FLEET,
        measure=releases,
        figures=(
            _more("b1", "up of a new release, 2 hosts", 3.0, "up 2", "script 2"),
            _more("b2", "up of a new release, 8 hosts", 4.5, "up 8", "script 8"),
            _times("c", "up of a new release: 8 hosts to 1", 1.7, "up 8", "up 1"),
            Figure(
                id="e",
                what="peak memory of the program's process, up of 8 hosts",
                limit=100,
                unit="MB",
                value=lambda samples: max(samples.seconds["memory"]),
            ),
        ),
    ),
    Part(
        scale=SINGLE,
        measure=guard,
        figures=(
            _more("f", "guarded switch, 2 checks that pass", 1.5, "guarded switch", "bare switch"),
        ),
    ),
    Part(
        scale=SINGLE,
        measure=targets,
        figures=(
            Figure(
                id="h",
                what="up that creates an Incus host from an existing image, until it answers",
                limit=12,
                unit="s",
                value=lambda samples: median(samples.seconds["a new Incus host"]),
            ),
            _times(
                "i",
                "up of a new release: an Incus host to one over ssh",
                1.2,
                "up, an Incus host",
                "up, a host over ssh",
            ),
            Figure(
                id="j",
                what="copy of 100 MB by incus exec",
                limit=2,
                unit="s",
                value=lambda samples: median(samples.seconds["100 MB by exec"]),
            ),
        ),
    ),
    Part(
        scale=WIDE,
        measure=slow_releases,
        figures=(
            _times("g", "up, activation of 10 s: 16 hosts to 1", 1.5, "slow up 16", "slow up 1"),
        ),
    ),
)
IDS: Final = tuple(figure.id for part in PARTS for figure in part.figures)


def parts_of(ids: Collection[str]) -> tuple[Part, ...]:
    """The parts with any of these rows."""
    return tuple(part for part in PARTS if any(figure.id in ids for figure in part.figures))
