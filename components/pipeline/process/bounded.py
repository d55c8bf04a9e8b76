"""How much is read of what somebody else sends: every reader streams, and stops at its limit.

Sizes are those on the wire: nothing here is decompressed, so that no small reply becomes a large
one.
"""

from collections.abc import AsyncIterable, AsyncIterator
from typing import Final

KEY_LIMIT: Final = 4 * 1024
"""Bytes of a public key, or of another value of one short line."""
REPLY_LIMIT: Final = 64 * 1024
"""Bytes of one line, or of the output of one command of ours."""
FILE_LIMIT: Final = 1024 * 1024
"""Bytes of a log or a file, or of all that a host prints in one call."""
OBJECT_LIMIT: Final = 16 * 1024 * 1024
"""Bytes of what a daemon or a server says about its own objects: a list of thousands."""


class OversizeError(Exception):
    """There was more than the limit; the text says so."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        super().__init__(f"more than {limit} bytes")


async def whole(chunks: AsyncIterable[bytes], limit: int) -> bytes:
    """All bytes, if there are at most `limit`.

    Raises:
        OversizeError: there are more; nothing is read beyond the chunk that exceeds the limit.
    """
    found = bytearray()
    async for chunk in chunks:
        found += chunk
        if len(found) > limit:
            raise OversizeError(limit)
    return bytes(found)


async def beginning(chunks: AsyncIterable[bytes], limit: int) -> bytes:
    """The first `limit` bytes; nothing is read beyond the chunk that exceeds the limit."""
    found = bytearray()
    async for chunk in chunks:
        found += chunk
        if len(found) > limit:
            break
    return bytes(found[:limit])


async def end(chunks: AsyncIterable[bytes], limit: int) -> bytes:
    """The last `limit` bytes; everything is read, and at most twice as much is kept meanwhile."""
    found = bytearray()
    async for chunk in chunks:
        found += chunk
        if len(found) > 2 * limit:
            del found[:-limit]
    return bytes(found[-limit:])


async def lines(chunks: AsyncIterable[bytes], limit: int) -> AsyncIterator[bytes]:
    """The lines, without their ends; empty ones are left out.

    Raises:
        OversizeError: a line of more than `limit` bytes.
    """
    rest = bytearray()
    async for chunk in chunks:
        *complete, left = chunk.split(b"\n")
        for line in complete:
            rest += line
            if text := _line(rest, limit):
                yield text
            rest.clear()
        rest += left
        if len(rest) > limit:
            raise OversizeError(limit)
    if text := _line(rest, limit):
        yield text


def _line(found: bytearray, limit: int) -> bytes:
    if len(found) > limit:
        raise OversizeError(limit)
    return bytes(found).strip()
