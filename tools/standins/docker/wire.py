"""HTTP/1.1 on any road: as much of it as a daemon's answers need.

A client library would take longer to load than a whole preview takes, and none of them speaks
through the pipes of an ssh.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio

    from standins.docker.roads import Road, Stream

_NO_BODY = (204, 304)


class WireError(Exception):
    """No answer came; the text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One answer, with all of its body."""

    status: int
    headers: dict[str, str]
    """By names in lower case."""
    body: bytes


@dataclass(slots=True)
class Wire:
    """Requests on one road; a connection is used again when its answer has been read."""

    road: Road
    _idle: list[Stream] = field(default_factory=list)

    async def ask(self, method: str, path: str, *, headers: dict[str, str], body: bytes) -> Answer:
        """One request, and all of its answer.

        Raises:
            WireError: no connection, or it broke.
        """
        try:
            stream = self._rested() or await self.road.open()
        except OSError as error:
            what = f"{error.filename}: " if error.filename else ""
            msg = f"{what}{error.strerror or error}"
            raise WireError(msg) from error
        reusable = False
        try:
            stream.writer.write(_head(method, path, headers, body) + body)
            await stream.writer.drain()
            answer = await _answer(stream.reader)
            reusable = answer.headers.get("connection", "").lower() != "close"
        except (OSError, EOFError, ValueError) as error:
            said = await stream.last_words()
            raise WireError(said or str(error) or "the connection was closed") from error
        finally:
            if reusable:
                self._idle.append(stream)
            else:
                stream.close()
        return answer

    def _rested(self) -> Stream | None:
        while self._idle:
            stream = self._idle.pop()
            if not stream.reader.at_eof() and not stream.writer.is_closing():
                return stream
            stream.close()
        return None


def _head(method: str, path: str, headers: dict[str, str], body: bytes) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: docker", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join((*lines, "", "")).encode()


async def _answer(reader: asyncio.StreamReader) -> Answer:
    status = int((await _line(reader)).split()[1])
    headers = {}
    while line := await _line(reader):
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    body = b"" if status in _NO_BODY else await _body(reader, headers)
    return Answer(status=status, headers=headers, body=body)


async def _line(reader: asyncio.StreamReader) -> str:
    line = await reader.readuntil(b"\r\n")
    return line[:-2].decode("latin-1")


async def _body(reader: asyncio.StreamReader, headers: dict[str, str]) -> bytes:
    if headers.get("transfer-encoding", "").lower() == "chunked":
        body = bytearray()
        while size := int((await _line(reader)).partition(";")[0], 16):
            body += await reader.readexactly(size)
            await reader.readexactly(2)
        await _line(reader)
        return bytes(body)
    if "content-length" in headers:
        return await reader.readexactly(int(headers["content-length"]))
    headers["connection"] = "close"
    return await reader.read()
