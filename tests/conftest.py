"""The scheduler of parallel runs, fixtures of all tests, and the summary line."""

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

SHARED: Final = (
    "tests/e2e/test_docker_",
    "tests/e2e/",
    "tests/contract/docker/",
    "tests/e2e/test_incus_",
    "tests/e2e/test_rollback",
    "tests/e2e/test_switch_",
    "tests/e2e/test_failed_units",
    "tests/faults/",
    "tests/contract/incus/",
    "tests/e2e/test_commit_answer",
    "tests/e2e/test_hidden_failures",
    "tests/e2e/test_modes",
    "tests/contract/standins/test_command_",
    "tests/contract/",
    "tests/e2e/test_runner",
    "tests/e2e/test_boot_guard",
    "tests/e2e/test_docker_ssh",
    "tests/",
)
"""Groups of tests that share hosts, daemons and names, by path prefix; the longest first."""


class SharedGroupScheduling(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    """Runs the tests of a group one after the other, in parallel with other groups.

    A free worker takes the next of SHARED. Within a group the order is the usual one, so that
    session and module fixtures are created once. (xdist's own groups append marks to the names of
    tests, which pytest 9.2 does not allow.)
    """

    def schedule(self) -> None:
        """Keep the order of SHARED, instead of that by number of tests."""
        self.config.option.loadscopereorder = False
        super().schedule()

    def _split_scope(self, nodeid: str) -> str:
        return _group_prefix(nodeid)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Measure coverage of tests that run on every machine; in a worker, sort them by group."""
    for item in items:
        if _group(item.nodeid) not in COVERING:
            item.add_marker("no_cover")
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: SHARED.index(_group_prefix(item.nodeid)))


def _group_prefix(nodeid: str) -> str:
    if nodeid.startswith("tests/contract/standins/test_docker_"):
        return "tests/contract/docker/"  # the same daemon
    return max((start for start in SHARED if nodeid.startswith(start)), key=len)


@pytest.hookimpl(optionalhook=True)  # only exists in parallel runs
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> SharedGroupScheduling:
    return SharedGroupScheduling(config, log)


@pytest.fixture(scope="session")
def parts() -> dict[str, dict[str, Any]]:
    """The status of each part of the toolchain, by `tools/bootstrap --status`."""
    argv = (sys.executable, str(HERE.parent / "tools" / "bootstrap"), "--status", "--json")
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    found: dict[str, dict[str, Any]] = json.loads(done.stdout)["parts"]
    return found


@pytest.fixture(scope="session")
def docker_host(parts: dict[str, dict[str, Any]]) -> str:
    """The DOCKER_HOST of a daemon that answers; skips if there is none."""
    part = parts["docker"]
    if part["state"] != "ready":
        pytest.skip(f"no docker: {part['reason']}; {part['remedy']}")
    return str(part["host"])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    ran = _count(terminalreporter, "passed") + _count(terminalreporter, "failed")
    skipped = _count(terminalreporter, "skipped")
    counts = ", ".join(f"{group} {ran[group]}" for group in GROUPS if ran[group])
    line = f"ran: {counts or 'nothing'}"
    if skipped:
        skips = ", ".join(f"{group} {skipped[group]}" for group in GROUPS if skipped[group])
        line += f"; skipped: {skips} ({'; '.join(sorted(_reasons(terminalreporter)))})"
    terminalreporter.write_line(line)
    for name in ("command", "docker"):
        marker = f"/standins/test_{name}_"
        if any(marker in nodeid for nodeid in _nodeids(terminalreporter, "passed")):
            # Imported here, as the reporter may not have collected these tests, and gRPC is slow.
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
