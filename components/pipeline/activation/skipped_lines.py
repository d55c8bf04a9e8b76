"""Lines of a call that no runner has printed: a login shell may greet whoever logs in."""

from dataclasses import dataclass
from typing import Final

from ..errors import ReplyError
from . import protocol
from .protocol import NoEventError, Reply

LIMIT: Final = 100
"""Lines that are skipped in one call, at most."""


@dataclass(slots=True)
class SkippedLines:
    """The lines of one call that are no events."""

    first: ReplyError | None = None
    """The error for the first of them."""
    count: int = 0

    def parse(self, host: str, line: bytes) -> Reply | None:
        """The event in a line; None for a line that is skipped.

        Raises:
            ReplyError: an event that cannot be used, or one line too many.
        """
        try:
            return protocol.parse(host, line)
        except NoEventError as error:
            self.first, self.count = self.first or ReplyError(str(error)), self.count + 1
            if self.count > LIMIT:
                raise self.first from None
            return None
