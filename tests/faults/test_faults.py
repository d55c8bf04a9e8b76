"""About twenty injections of the fault plan; `make faults` makes all of them."""

import subprocess
import sys

import pytest

from harness.incus import ROOT
from tests.e2e.conftest import tools  # noqa: F401 the fixture that skips by name and reason

HOSTS = "4"
"""So many are made sooner than eight, and leave the cores to what runs beside."""
pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]


@pytest.mark.usefixtures("tools")
def test_a_quick_run_ends_as_it_has_to() -> None:
    done = subprocess.run(
        (sys.executable, "-m", "tests.faults", "--quick", "--hosts", HOSTS),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=880,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout[-8000:]}{done.stderr[-2000:]}"
