"""The check of the checks still fits the program; `make mutants` runs it."""

from harness.incus import ROOT
from tests.faults import rows
from tests.faults.mutants import MUTANTS


def test_each_mutant_can_be_made_of_the_program_as_it_is() -> None:
    for mutant in MUTANTS:
        mutant.check(ROOT)


def test_each_mutant_has_rows_that_have_to_fail() -> None:
    known = {row.id for row in rows.ALL}
    assert all(mutant.killers and known.issuperset(mutant.killers) for mutant in MUTANTS)
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS) == 8


def test_no_two_rows_have_one_name() -> None:
    names = [row.id for row in rows.ALL]
    assert len(names) == len(set(names))
