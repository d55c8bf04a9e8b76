"""Which injections a run makes, and in which order."""

from collections.abc import Iterable
from dataclasses import dataclass

from tests.faults.row import By, Row


@dataclass(frozen=True, slots=True, kw_only=True)
class Injection:
    """One play of a row."""

    row: Row
    seed: int


def injections(
    rows: Iterable[Row], seed: int, *, only: frozenset[str], quick: bool, times: int | None
) -> list[Injection]:
    """Those of a run, in its order: with the engine first, and of each kind the rare ones first.

    `seed` is the first of each row; the n-th injection has `seed + n`. So one is made again by
    `--rows ROW --times 1 --seed SEED`.
    """
    chosen = [row for row in rows if not only or row.id in only]
    counted = [(row, _count(row, quick=quick and not only, times=times)) for row in chosen]
    made = [
        Injection(row=row, seed=seed + number) for row, count in counted for number in range(count)
    ]
    order = tuple(By)
    return sorted(made, key=lambda one: (order.index(one.row.by), one.row.times))


def _count(row: Row, *, quick: bool, times: int | None) -> int:
    if times is not None:
        return times
    return row.quick if quick else row.times
