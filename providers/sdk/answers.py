"""Answers to the engine that take more than a line to make."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NoReturn

import grpc

from .diff import Change
from .stubs import provider_pb2, status_pb2
from .values import encode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .check import Failure
    from .diff import Diff
    from .values import Properties

_KINDS: Final = {
    (Change.ADD, False): provider_pb2.PropertyDiff.ADD,
    (Change.ADD, True): provider_pb2.PropertyDiff.ADD_REPLACE,
    (Change.DELETE, False): provider_pb2.PropertyDiff.DELETE,
    (Change.DELETE, True): provider_pb2.PropertyDiff.DELETE_REPLACE,
    (Change.UPDATE, False): provider_pb2.PropertyDiff.UPDATE,
    (Change.UPDATE, True): provider_pb2.PropertyDiff.UPDATE_REPLACE,
}


def checked(inputs: Properties, failures: Sequence[Failure]) -> Any:
    """The checked inputs, or what is wrong with them."""
    told = [
        provider_pb2.CheckFailure(property=failure.field, reason=failure.reason)
        for failure in failures
    ]
    return provider_pb2.CheckResponse(inputs=encode(inputs), failures=told)


def changes(diff: Diff) -> Any:
    """What has changed, and which of it is a replacement."""
    some, none = provider_pb2.DiffResponse.DIFF_SOME, provider_pb2.DiffResponse.DIFF_NONE
    found = diff.differences
    return provider_pb2.DiffResponse(
        changes=some if found else none,
        diffs=sorted({change.top for change in found}),
        replaces=sorted({change.top for change in found if change.replaces}),
        deleteBeforeReplace=diff.delete_before_replace,
        hasDetailedDiff=True,
        detailedDiff={
            change.path: provider_pb2.PropertyDiff(kind=_KINDS[change.change, change.replaces])
            for change in found
        },
    )


async def abort(
    context: Any, text: str, *, code: grpc.StatusCode = grpc.StatusCode.UNKNOWN
) -> NoReturn:
    """End the call with an error; the engine shows its text."""
    await context.abort(code, text)
    raise AssertionError  # abort raises


async def abort_partly(
    context: Any, text: str, *, identity: str, state: Properties, inputs: Properties
) -> NoReturn:
    """End the call with an error, and a resource for the state all the same."""
    detail = provider_pb2.ErrorResourceInitFailed(
        id=identity, properties=encode(state), inputs=encode(inputs), reasons=[text]
    )
    status = status_pb2.Status(code=grpc.StatusCode.UNKNOWN.value[0], message=text)
    status.details.add().Pack(detail)
    trailing = (("grpc-status-details-bin", status.SerializeToString()),)
    await context.abort(grpc.StatusCode.UNKNOWN, text, trailing)
    raise AssertionError  # abort raises
