"""What all tests share: who runs beside whom, and what the last lines say of what ran."""

import importlib
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

GROUPS = ("unit", "program", "docs", "contract", "e2e", "faults")
COVERING = ("unit", "program")
"""Groups that need no daemon: with others, the figure would say what a machine could start."""
HERE = Path(__file__).parent

TOGETHER: Final = (
    "tests/e2e/test_docker_",
    "tests/e2e/",
    "tests/contract/docker/",
    "tests/e2e/test_incus_",
    "tests/faults/",
    "tests/contract/incus/",
    "tests/contract/standins/test_command_",
    "tests/contract/",
    "tests/e2e/test_runner",
    "tests/e2e/test_docker_ssh",
    "tests/",
)
"""Tests that use the same hosts, daemons and names, which are made once; the longest first."""


class Together(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    """Who uses the same things runs one after the other, and beside all others.

    A worker that is free takes the next of TOGETHER. The order within is the usual one, so what is
    made for a session or a module is made once. (xdist's own groups are marks that it appends to
    the names of tests, which pytest 9.2 does not let it do.)
    """

    def schedule(self) -> None:
        """Hand out the longest first, and not what has the most tests."""
        self.config.option.loadscopereorder = False
        super().schedule()

    def _split_scope(self, nodeid: str) -> str:
        return _together(nodeid)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Coverage is of the tests that every machine runs; in a worker, the order of handing out."""
    for item in items:
        if _group(item.nodeid) not in COVERING:
            item.add_marker("no_cover")
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: TOGETHER.index(_together(item.nodeid)))


def _together(nodeid: str) -> str:
    if nodeid.startswith("tests/contract/standins/test_docker_"):
        return "tests/contract/docker/"  # the same daemon
    return max((start for start in TOGETHER if nodeid.startswith(start)), key=len)


@pytest.hookimpl(optionalhook=True)  # only there where tests run side by side
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Together:
    return Together(config, log)


@pytest.fixture(scope="session")
def parts() -> dict[str, dict[str, Any]]:
    """What tools/bootstrap says of each part of the toolchain."""
    argv = (sys.executable, str(HERE.parent / "tools" / "bootstrap"), "--status", "--json")
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    found: dict[str, dict[str, Any]] = json.loads(done.stdout)["parts"]
    return found


@pytest.fixture(scope="session")
def docker_host(parts: dict[str, dict[str, Any]]) -> str:
    """Where a Docker daemon answers, as DOCKER_HOST has it; skips where none does."""
    part = parts["docker"]
    if part["state"] != "ready":
        pytest.skip(f"no docker: {part['reason']}; {part['remedy']}")
    return str(part["host"])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    ran = _count(terminalreporter, "passed") + _count(terminalreporter, "failed")
    skipped = _count(terminalreporter, "skipped")
    told = ", ".join(f"{group} {ran[group]}" for group in GROUPS if ran[group])
    line = f"ran: {told or 'nothing'}"
    if skipped:
        left = ", ".join(f"{group} {skipped[group]}" for group in GROUPS if skipped[group])
        line += f"; skipped: {left} ({'; '.join(sorted(_reasons(terminalreporter)))})"
    terminalreporter.write_line(line)
    for name in ("command", "docker"):
        ran_it = f"/standins/test_{name}_"
        if any(ran_it in nodeid for nodeid in _nodeids(terminalreporter, "passed")):
            # Imported late: whoever reports has not always collected, and gRPC takes its time.
            driver = importlib.import_module(f"harness.providers.{name}_driver")
            own = driver.is_stand_in()
            which = "the project's stand-in" if own else f"FLAKEUP_{name.upper()}_PLUGIN"
            terminalreporter.write_line(f"{name} plugin: {driver.plugin_path()} ({which})")


def _count(reporter: pytest.TerminalReporter, outcome: str) -> Counter[str]:
    return Counter(map(_group, _nodeids(reporter, outcome)))


def _nodeids(reporter: pytest.TerminalReporter, outcome: str) -> Iterator[str]:
    for report in reporter.stats.get(outcome, []):
        if hasattr(report, "nodeid"):
            yield report.nodeid


def _group(nodeid: str) -> str:
    parts = nodeid.split("/")
    return parts[1] if len(parts) > 2 else parts[0]


def _reasons(reporter: pytest.TerminalReporter) -> set[str]:
    reasons = set()
    for report in reporter.stats.get("skipped", []):
        if isinstance(report.longrepr, tuple):
            reasons.add(str(report.longrepr[2]).removeprefix("Skipped: "))
    return reasons
