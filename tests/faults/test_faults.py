"""About twenty injections of the fault matrix; `make faults` runs all of them."""

import subprocess
import sys

import pytest

from harness.incus import ROOT
from tests.e2e.conftest import tools  # noqa: F401 a fixture that skips without the tools

HOSTS = "4"
"""Fewer than by default, as other tests run in parallel."""
pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]


@pytest.mark.usefixtures("tools")
def test_a_quick_run_succeeds() -> None:
    done = subprocess.run(
        (sys.executable, "-m", "tests.faults", "--quick", "--hosts", HOSTS),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=880,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout[-8000:]}{done.stderr[-2000:]}"
