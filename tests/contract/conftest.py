"""Says at the end which `command` plugin the contract tests have run against."""

import sys

import pytest


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    driver = sys.modules.get("tests.contract.command_driver")
    if driver is not None:
        which = "the project's stand-in" if driver.is_stand_in() else "FLAKEUP_COMMAND_PLUGIN"
        terminalreporter.write_line(f"command plugin: {driver.plugin_path()} ({which})")
