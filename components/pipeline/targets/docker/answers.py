"""What a Docker daemon answers: content, progress, logs, and errors in its own words."""

import contextlib
import json
from http import HTTPStatus
from typing import Any, Final

from ...errors import printable
from ..replies import HttpReply

_FRAME_HEADER: Final = 8


class ApiError(Exception):
    """An error as the daemon words it; `Daemon` makes a message of it."""

    def __init__(self, status: int, text: str) -> None:
        self.status = status
        self.text = text
        super().__init__(text)


def content_of(answer: HttpReply) -> Any:
    """The JSON of a successful reply; None if it is empty.

    Raises:
        ApiError: the daemon refused the request, or the reply is not JSON.
    """
    require_success(answer)
    try:
        return answer.parse()
    except ValueError as error:
        raise ApiError(HTTPStatus.BAD_GATEWAY, "the reply is not JSON") from error


def require_success(answer: HttpReply) -> None:
    """Raise the error that a reply is, in the daemon's own words.

    Raises:
        ApiError: it is one.
    """
    # 304: a container that is to be stopped has stopped already.
    if answer.is_success or answer.status == HTTPStatus.NOT_MODIFIED:
        return
    text = ""
    with contextlib.suppress(ValueError, KeyError, TypeError):
        text = str(answer.parse()["message"])
    raise ApiError(answer.status, printable(text or f"http status {answer.status}", 500))


def progress_of(line: bytes) -> Any:
    """The object in a line of a long operation.

    Raises:
        ApiError: the operation failed, or the line is not JSON.
    """
    try:
        found = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ApiError(HTTPStatus.BAD_GATEWAY, "its progress is not JSON") from error
    if not isinstance(found, dict):
        return {}
    if "error" in found:
        raise ApiError(HTTPStatus.BAD_GATEWAY, printable(str(found["error"]), 500))
    return found


def demultiplexed(content: bytes) -> str:
    """Return the output in a log without a terminal, where each piece has a header."""
    pieces, start = [], 0
    while _is_header(header := content[start : start + _FRAME_HEADER]):
        begin = start + _FRAME_HEADER
        start = begin + int.from_bytes(header[4:], "big")
        pieces.append(content[begin:start])
    return b"".join([*pieces, content[start:]]).decode(errors="replace").strip()


def _is_header(found: bytes) -> bool:
    return len(found) == _FRAME_HEADER and found[0] in (0, 1, 2) and found[1:4] == b"\0\0\0"
