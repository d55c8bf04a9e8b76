"""The errors of operations.

OperationError            the operation failed; the state does not change
└── PartialFailureError   it failed after it made something, which goes into the state
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .values import Properties


class OperationError(Exception):
    """An operation that failed; its text is all that the user reads."""


class PartialFailureError(OperationError):
    """A create or update that failed after it made something that the state must record.

    The engine stores the resource together with the error, shows the error, and plans an update
    the next time.
    """

    def __init__(self, text: str, *, resource_id: str, outputs: Properties) -> None:
        """`outputs` are those that the operation would have returned."""
        super().__init__(text)
        self.resource_id = resource_id
        self.outputs = outputs
