"""Where the time of a run goes, stage by stage."""

import contextlib
import time
from collections.abc import Awaitable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

T = TypeVar("T")


@dataclass(slots=True)
class Timings:
    """Wall-clock seconds of each stage, from its first beginning to its last end.

    Hosts go through a stage side by side: what counts is how long the stage was under way.
    """

    _spans: dict[str, tuple[float, float]] = field(default_factory=dict)

    @contextlib.contextmanager
    def span(self, stage: str) -> Iterator[None]:
        """Count the time inside the block towards `stage`."""
        began = time.monotonic()
        try:
            yield
        finally:
            self.mark(stage, began)

    async def timed(self, stage: str, work: Awaitable[T]) -> T:
        """Await `work`, and count its time towards `stage`."""
        with self.span(stage):
            return await work

    def mark(self, stage: str, began: float) -> None:
        """Stretch `stage` from `began` (monotonic seconds) to now, where that is longer."""
        first, last = self._spans.get(stage, (began, began))
        self._spans[stage] = (min(first, began), max(last, time.monotonic()))

    def __str__(self) -> str:
        spans = self._spans.items()
        return ", ".join(f"{stage} {last - first:.1f} s" for stage, (first, last) in spans)
