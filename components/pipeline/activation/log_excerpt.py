"""The lines of an activation's log that a failure shows."""

import re
from collections import deque
from dataclasses import dataclass, field
from typing import Final

LIMIT: Final = 20
"""Lines that are shown, at most."""

_MARK: Final = "--- flakeup: "
"""Begins the lines that the runner writes: before each activation, and before the rollback."""
_ROLLBACK: Final = f"{_MARK}rolling back"
_STATUS: Final = re.compile(
    r"\S \S+\.(service|socket|target|mount|automount|swap|timer|path|slice|scope|device)( - |$)"
)
"""The first line of what `systemctl status` prints of a unit; the dot depends on the locale."""


def _lines() -> deque[str]:
    return deque(maxlen=LIMIT)


@dataclass(slots=True)
class LogExcerpt:
    """The end of the log of NEW's last activation; what the rollback prints is not part of it.

    `switch-to-configuration` ends with `systemctl status` of the units that failed, twenty lines
    each, and what went wrong is said before.
    """

    _before: deque[str] = field(default_factory=_lines)
    """Lines before the first `systemctl status`."""
    _after: deque[str] = field(default_factory=_lines)
    _is_over: bool = False

    def add(self, line: str) -> None:
        """Take one more line of the log."""
        if self._is_over or line.startswith(_ROLLBACK):
            self._is_over = True
        elif line.startswith(_MARK):
            self._before.clear()
            self._after.clear()
        elif self._after or _STATUS.match(line):
            self._after.append(line)
        else:
            self._before.append(line)

    @property
    def lines(self) -> tuple[str, ...]:
        """What to show: the lines before the first status, if there are any."""
        return tuple(self._before if any(map(str.strip, self._before)) else self._after)
