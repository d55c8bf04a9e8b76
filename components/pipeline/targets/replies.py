"""HTTP replies of daemons and servers: read while they come, up to a size and for a time."""

import asyncio
import json
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

import httpx

from ..process import bounded

IDENTITY: Final = {"Accept-Encoding": "identity"}
"""Headers of each request: a compressed reply could have any size. One that comes all the same is
not decompressed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpReply:
    """A whole reply."""

    status: int
    content: bytes
    etag: str = ""

    @property
    def is_success(self) -> bool:
        """Whether its status says that the request was carried out."""
        return HTTPStatus.OK <= self.status < HTTPStatus.MULTIPLE_CHOICES

    def parse(self) -> Any:
        """The JSON that it has; None if it is empty.

        Raises:
            ValueError: it is not JSON.
        """
        try:
            return json.loads(self.content) if self.content else None
        except RecursionError as error:
            msg = "nested too deeply"
            raise ValueError(msg) from error


async def read(answer: httpx.Response, *, limit: int, seconds: float) -> HttpReply:
    """Read the body of an open response, as it was sent.

    Raises:
        OversizeError: more than `limit` bytes.
        TimeoutError: it has not ended after `seconds`: httpx bounds only the pauses in it.
        httpx.TransportError: the connection broke.
    """
    async with asyncio.timeout(seconds):
        content = await bounded.whole(answer.aiter_raw(), limit)
    etag = answer.headers.get("ETag", "")
    return HttpReply(status=answer.status_code, content=content, etag=etag)
