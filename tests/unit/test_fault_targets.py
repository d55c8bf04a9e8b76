"""Rows that a machine cannot run are reported with the reason; caches are isolated."""

import os
from pathlib import Path

import pytest

from components.pipeline.release import nix
from harness.caches import isolated_caches
from tests.faults import report, rows, targets
from tests.faults.plan import injections

READY = {"state": "ready"}
MISSING = {"state": "missing", "reason": "no daemon answers", "remedy": "start dockerd"}
META = {"began": "now", "seconds": 60, "hosts": 8, "seed": 1}


def test_rows_without_a_daemon_are_skipped_by_name_and_reason(tmp_path: Path) -> None:
    only = frozenset({"F22a", "F22c", "H1"})
    wanted = injections(rows.ALL, 1, only=only, quick=False, times=1)
    parts = dict.fromkeys(("pulumi", "nix", "edge", "incus", "image"), READY)
    skipped = targets.skipped(wanted, {**parts, "docker": MISSING})
    why = "no docker: no daemon answers; start dockerd"
    assert skipped == {"F22a": why, "F22c": why}
    chosen = [row for row in rows.ALL if row.id in only]
    report.write_page(tmp_path / "page.md", chosen, [], {**META, "skipped": skipped})
    page = (tmp_path / "page.md").read_text()
    assert f"Not run on this machine: F22a, F22c: {why}." in page.splitlines()


def test_a_quick_run_needs_hosts_only() -> None:
    wanted = injections(rows.ALL, 1, only=frozenset(), quick=True, times=None)
    assert wanted
    assert not [one.row.id for one in wanted if one.row.driver in targets.KINDS]


def test_caches_are_isolated_only_while_hosts_are_set_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows without hosts come later, and need the toolchain in the user's cache."""
    for before in ("/somewhere", None):
        if before:
            monkeypatch.setenv("XDG_CACHE_HOME", before)
        else:
            monkeypatch.delenv("XDG_CACHE_HOME")
        with isolated_caches(tmp_path):
            assert nix.cache_folder().is_relative_to(tmp_path)
        assert os.environ.get("XDG_CACHE_HOME") == before
        assert not nix.cache_folder().is_relative_to(tmp_path)
