"""What the user sees while an operation runs: messages on its resource, through the engine."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from dataclasses import dataclass, field
from typing import Final, cast

import grpc
import grpc.aio

from .stubs import engine_pb2, engine_pb2_grpc

_PIECE: Final = 1 << 16
"""Bytes after which a line is sent on although it has not ended."""
_PATIENCE: Final = 10.0
"""Seconds for one message; the engine answers in well under one."""
LIMITS: Final = (
    ("grpc.max_receive_message_length", 400 << 20),
    ("grpc.max_send_message_length", 400 << 20),
)
"""As the SDKs have them: output is part of a message."""


class Engine:
    """The engine's end for messages; connected on the first one."""

    def __init__(self, address: str) -> None:
        """`address` as `127.0.0.1:41234`; empty for none, then messages are dropped."""
        self.address = address
        self._stub: engine_pb2_grpc.EngineAsyncStub | None = None

    async def log(self, request: engine_pb2.LogRequest) -> None:
        """Send one message; an engine that is gone is no reason to fail an operation."""
        if not self.address:
            return
        self._stub = self._stub or self._connect()
        with contextlib.suppress(grpc.RpcError):
            await self._stub.Log(request, timeout=_PATIENCE)

    def _connect(self) -> engine_pb2_grpc.EngineAsyncStub:
        channel = grpc.aio.insecure_channel(self.address, options=LIMITS)
        return cast("engine_pb2_grpc.EngineAsyncStub", engine_pb2_grpc.EngineStub(channel))


@dataclass(slots=True, kw_only=True)
class Journal:
    """The messages of one operation on one resource, sent in order."""

    engine: Engine
    urn: str
    _waiting: deque[engine_pb2.LogRequest] = field(default_factory=deque)
    _sender: asyncio.Task[None] | None = None
    _rest: bytearray = field(default_factory=bytearray)

    def status(self, message: str) -> None:
        """A passing message: it shows in the resource's row and is gone at the end."""
        self._send(message, engine_pb2.INFO, passing=True)

    def warning(self, message: str) -> None:
        """A warning that stays."""
        self._send(message, engine_pb2.WARNING, passing=False)

    def error(self, message: str) -> None:
        """An error that stays."""
        self._send(message, engine_pb2.ERROR, passing=False)

    def output(self, data: bytes) -> None:
        """Output of a command: each line becomes a passing message."""
        self._rest += data
        if b"\n" not in data and len(self._rest) < _PIECE:
            return
        *lines, rest = bytes(self._rest).split(b"\n")
        while len(rest) >= _PIECE:
            lines.append(rest[:_PIECE])
            rest = rest[_PIECE:]
        self._rest = bytearray(rest)
        for line in lines:
            self._line(line)

    async def close(self) -> None:
        """Send the last, unended line and wait until everything is sent."""
        if self._rest:
            self._line(bytes(self._rest))
            self._rest.clear()
        if self._sender is not None:
            await self._sender

    def _line(self, line: bytes) -> None:
        self.status(line.removesuffix(b"\r").decode("utf-8", "replace"))

    def _send(
        self, message: str, severity: engine_pb2.LogSeverity.ValueType, *, passing: bool
    ) -> None:
        self._waiting.append(
            engine_pb2.LogRequest(
                severity=severity, message=message, urn=self.urn, ephemeral=passing
            )
        )
        if self._sender is None or self._sender.done():
            self._sender = asyncio.ensure_future(self._drain())

    async def _drain(self) -> None:
        while self._waiting:
            await self.engine.log(self._waiting.popleft())
