"""The errors of operations.

OperationError            it failed; nothing of it is kept
└── PartlyDoneError       it failed half-way: what is there goes into the state
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .values import Properties


class OperationError(Exception):
    """An operation that failed; its text is all that the user reads."""


class PartlyDoneError(OperationError):
    """A create or update that failed after something was made, which the state must know of.

    The engine stores it with the error, shows the error, and asks for an update the next time.
    """

    def __init__(self, text: str, *, identity: str, outputs: Properties) -> None:
        """`outputs` as the operation would have returned them."""
        super().__init__(text)
        self.identity = identity
        self.outputs = outputs
