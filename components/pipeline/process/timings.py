"""How long the stages of a run take."""

import contextlib
import time
from collections.abc import Awaitable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

T = TypeVar("T")


@dataclass(slots=True)
class Timings:
    """Wall-clock seconds of each stage, from its first start to its last end.

    Hosts go through a stage in parallel, so their times are not added up.
    """

    _spans: dict[str, tuple[float, float]] = field(default_factory=dict)

    @contextlib.contextmanager
    def span(self, stage: str) -> Iterator[None]:
        """Add the block to `stage`."""
        began = time.monotonic()
        try:
            yield
        finally:
            self.mark(stage, began)

    async def timed(self, stage: str, work: Awaitable[T]) -> T:
        """Await `work`, and add it to `stage`."""
        with self.span(stage):
            return await work

    def mark(self, stage: str, began: float) -> None:
        """Extend `stage` to the time from `began` (monotonic seconds) to now."""
        first, last = self._spans.get(stage, (began, began))
        self._spans[stage] = (min(first, began), max(last, time.monotonic()))

    def __str__(self) -> str:
        spans = self._spans.items()
        return ", ".join(f"{stage} {last - first:.1f} s" for stage, (first, last) in spans)
