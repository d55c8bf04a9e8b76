"""Builds the gRPC responses and errors that take more than one line."""

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


def check_response(inputs: Properties, failures: Sequence[Failure]) -> Any:
    """The checked inputs with their failures."""
    messages = [
        provider_pb2.CheckFailure(property=failure.field, reason=failure.reason)
        for failure in failures
    ]
    return provider_pb2.CheckResponse(inputs=encode(inputs), failures=messages)


def diff_response(diff: Diff) -> Any:
    """The differences by path, and which of them replace the resource."""
    some, none = provider_pb2.DiffResponse.DIFF_SOME, provider_pb2.DiffResponse.DIFF_NONE
    differences = diff.differences
    return provider_pb2.DiffResponse(
        changes=some if differences else none,
        diffs=sorted({each.top for each in differences}),
        replaces=sorted({each.top for each in differences if each.replaces}),
        deleteBeforeReplace=diff.delete_before_replace,
        hasDetailedDiff=True,
        detailedDiff={
            each.path: provider_pb2.PropertyDiff(kind=_KINDS[each.change, each.replaces])
            for each in differences
        },
    )


async def abort(
    context: Any, text: str, *, code: grpc.StatusCode = grpc.StatusCode.UNKNOWN
) -> NoReturn:
    """Fail the call; the engine shows the text."""
    await context.abort(code, text)
    raise AssertionError  # abort raises


async def abort_partial(
    context: Any, text: str, *, resource_id: str, state: Properties, inputs: Properties
) -> NoReturn:
    """Fail the call, with a resource that the engine stores nevertheless."""
    detail = provider_pb2.ErrorResourceInitFailed(
        id=resource_id, properties=encode(state), inputs=encode(inputs), reasons=[text]
    )
    status = status_pb2.Status(code=grpc.StatusCode.UNKNOWN.value[0], message=text)
    status.details.add().Pack(detail)
    trailing = (("grpc-status-details-bin", status.SerializeToString()),)
    await context.abort(grpc.StatusCode.UNKNOWN, text, trailing)
    raise AssertionError  # abort raises
