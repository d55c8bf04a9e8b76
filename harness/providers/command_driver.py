"""Drives a `command` provider plugin as the engine does.

It is the one that `FLAKEUP_COMMAND_PLUGIN` names, else the stand-in in tools/standins/command.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from harness.providers import plugin_driver
from harness.providers.plugin_driver import PROJECT

if TYPE_CHECKING:
    from collections.abc import Mapping

STAND_IN: Final = PROJECT / "tools" / "standins" / "command" / "pulumi-resource-command"
LOCAL: Final = "command:local:Command"
REMOTE: Final = "command:remote:Command"


def plugin_path() -> Path:
    """The executable of the plugin under test."""
    return Path(os.environ.get("FLAKEUP_COMMAND_PLUGIN") or STAND_IN).resolve()


def is_stand_in() -> bool:
    """Whether the stand-in is under test."""
    return plugin_path() == STAND_IN


class Plugin(plugin_driver.Plugin):
    """The plugin under test, running."""

    @classmethod
    def start(
        cls, *, environment: Mapping[str, str] | None = None, cwd: Path | None = None
    ) -> Self:
        """Start and configure it; `environment` is added to that of the tests."""
        return cls.run(plugin_path(), environment=environment, cwd=cwd)
