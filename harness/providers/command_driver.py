"""Drives a `command` provider plugin as the engine does.

Which one is `FLAKEUP_COMMAND_PLUGIN`, or the project's own in tools/standins/command.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from harness.providers import plugin_driver
from harness.providers.plugin_driver import (
    PROJECT,
    UNKNOWN,
    FailedError,
    Json,
    failing,
    is_secret,
    revealed,
    secret,
    struct,
    urn,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "LOCAL",
    "PROJECT",
    "REMOTE",
    "STAND_IN",
    "UNKNOWN",
    "FailedError",
    "Json",
    "Plugin",
    "failing",
    "is_secret",
    "is_stand_in",
    "plugin_path",
    "revealed",
    "secret",
    "struct",
    "urn",
]
STAND_IN: Final = PROJECT / "tools" / "standins" / "command" / "pulumi-resource-command"
LOCAL: Final = "command:local:Command"
REMOTE: Final = "command:remote:Command"


def plugin_path() -> Path:
    """The plugin under test."""
    return Path(os.environ.get("FLAKEUP_COMMAND_PLUGIN") or STAND_IN).resolve()


def is_stand_in() -> bool:
    """Whether the project's own plugin is under test."""
    return plugin_path() == STAND_IN


class Plugin(plugin_driver.Plugin):
    """The plugin under test, running."""

    @classmethod
    def start(
        cls, *, environment: Mapping[str, str] | None = None, cwd: Path | None = None
    ) -> Self:
        """Start it and configure it; `environment` is added to that of the tests."""
        return cls.run(plugin_path(), environment=environment, cwd=cwd)
