"""Selects the injections of a run, and their order."""

from collections.abc import Iterable
from dataclasses import dataclass

from tests.faults.row import Driver, Row


@dataclass(frozen=True, slots=True, kw_only=True)
class Injection:
    """A row with a seed."""

    row: Row
    seed: int


def injections(
    rows: Iterable[Row], seed: int, *, only: frozenset[str], quick: bool, times: int | None
) -> list[Injection]:
    """The injections of a run: those with the engine first, and of each driver the rare ones first.

    The n-th injection of a row has the seed `seed + n`, so that one can be repeated by
    `--rows ROW --times 1 --seed SEED`.
    """
    chosen = [row for row in rows if not only or row.id in only]
    counted = [(row, _count(row, quick=quick and not only, times=times)) for row in chosen]
    made = [
        Injection(row=row, seed=seed + number) for row, count in counted for number in range(count)
    ]
    order = tuple(Driver)
    return sorted(made, key=lambda one: (order.index(one.row.driver), one.row.times))


def _count(row: Row, *, quick: bool, times: int | None) -> int:
    if times is not None:
        return times
    return row.quick if quick else row.times
