"""What all tests share: one line at the end that says what ran, and what was skipped and why."""

from collections import Counter
from pathlib import Path

import pytest

GROUPS = ("unit", "program", "docs", "contract", "e2e")
HERE = Path(__file__).parent


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    ran = _count(terminalreporter, "passed") + _count(terminalreporter, "failed")
    skipped = _count(terminalreporter, "skipped")
    told = ", ".join(f"{group} {ran[group]}" for group in GROUPS if ran[group])
    line = f"ran: {told or 'nothing'}"
    if skipped:
        left = ", ".join(f"{group} {skipped[group]}" for group in GROUPS if skipped[group])
        line += f"; skipped: {left} ({'; '.join(sorted(_reasons(terminalreporter)))})"
    terminalreporter.write_line(line)


def _count(reporter: pytest.TerminalReporter, outcome: str) -> Counter[str]:
    reports = reporter.stats.get(outcome, [])
    return Counter(_group(report.nodeid) for report in reports if hasattr(report, "nodeid"))


def _group(nodeid: str) -> str:
    parts = nodeid.split("/")
    return parts[1] if len(parts) > 2 else parts[0]


def _reasons(reporter: pytest.TerminalReporter) -> set[str]:
    reasons = set()
    for report in reporter.stats.get("skipped", []):
        if isinstance(report.longrepr, tuple):
            reasons.add(str(report.longrepr[2]).removeprefix("Skipped: "))
    return reasons
