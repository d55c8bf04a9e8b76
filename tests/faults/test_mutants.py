"""The mutants still fit the program; `make mutants` runs them."""

from harness.incus import ROOT
from tests.faults import rows
from tests.faults.safeguards import MUTANTS


def test_each_mutant_can_be_applied_to_the_program() -> None:
    for mutant in MUTANTS:
        mutant.check(ROOT)


def test_each_mutant_has_rows_that_kill_it() -> None:
    known = {row.id for row in rows.ALL}
    assert all(mutant.killers and known.issuperset(mutant.killers) for mutant in MUTANTS)
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS) == 24


def test_row_ids_are_unique() -> None:
    names = [row.id for row in rows.ALL]
    assert len(names) == len(set(names))
