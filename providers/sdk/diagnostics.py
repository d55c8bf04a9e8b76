"""Messages about a resource that the engine shows while its operation runs."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from dataclasses import dataclass, field
from typing import Final, cast

import grpc
import grpc.aio

from .stubs import engine_pb2, engine_pb2_grpc

_MAX_LINE: Final = 1 << 16
"""Bytes of an unfinished line after which it is sent anyway."""
_TIMEOUT: Final = 10.0
"""Seconds for one message; the engine answers in well under one."""
LIMITS: Final = (
    ("grpc.max_receive_message_length", 400 << 20),
    ("grpc.max_send_message_length", 400 << 20),
)
"""Those of the SDKs: the output of a command is part of a message."""


class Engine:
    """A client of the engine's log service; connected on the first message."""

    def __init__(self, address: str) -> None:
        """`address` like `127.0.0.1:41234`; messages are dropped where it is empty."""
        self.address = address
        self._stub: engine_pb2_grpc.EngineAsyncStub | None = None

    async def log(self, request: engine_pb2.LogRequest) -> None:
        """Send one message; an unreachable engine does not fail the operation."""
        if not self.address:
            return
        self._stub = self._stub or self._connect()
        with contextlib.suppress(grpc.RpcError):
            await self._stub.Log(request, timeout=_TIMEOUT)

    def _connect(self) -> engine_pb2_grpc.EngineAsyncStub:
        channel = grpc.aio.insecure_channel(self.address, options=LIMITS)
        return cast("engine_pb2_grpc.EngineAsyncStub", engine_pb2_grpc.EngineStub(channel))


@dataclass(slots=True, kw_only=True)
class Diagnostics:
    """The messages of one operation on one resource, sent in order."""

    engine: Engine
    urn: str
    _queue: deque[engine_pb2.LogRequest] = field(default_factory=deque)
    _sender: asyncio.Task[None] | None = None
    _unfinished: bytearray = field(default_factory=bytearray)

    def status(self, message: str) -> None:
        """Show an ephemeral message in the resource's row; it is gone at the end."""
        self._send(message, engine_pb2.INFO, ephemeral=True)

    def warning(self, message: str) -> None:
        """Add a warning to the resource's diagnostics."""
        self._send(message, engine_pb2.WARNING, ephemeral=False)

    def error(self, message: str) -> None:
        """Add an error to the resource's diagnostics."""
        self._send(message, engine_pb2.ERROR, ephemeral=False)

    def output(self, data: bytes) -> None:
        """Show a command's output: each line becomes an ephemeral message."""
        self._unfinished += data
        if b"\n" not in data and len(self._unfinished) < _MAX_LINE:
            return
        *lines, rest = bytes(self._unfinished).split(b"\n")
        while len(rest) >= _MAX_LINE:
            lines.append(rest[:_MAX_LINE])
            rest = rest[_MAX_LINE:]
        self._unfinished = bytearray(rest)
        for line in lines:
            self._line(line)

    async def close(self) -> None:
        """Send the last, unfinished line and wait until every message is sent."""
        if self._unfinished:
            self._line(bytes(self._unfinished))
            self._unfinished.clear()
        if self._sender is not None:
            await self._sender

    def _line(self, line: bytes) -> None:
        self.status(line.removesuffix(b"\r").decode("utf-8", "replace"))

    def _send(
        self, message: str, severity: engine_pb2.LogSeverity.ValueType, *, ephemeral: bool
    ) -> None:
        self._queue.append(
            engine_pb2.LogRequest(
                severity=severity, message=message, urn=self.urn, ephemeral=ephemeral
            )
        )
        if self._sender is None or self._sender.done():
            self._sender = asyncio.ensure_future(self._drain())

    async def _drain(self) -> None:
        while self._queue:
            await self.engine.log(self._queue.popleft())
