"""Drives a provider plugin as the engine does: starts it, asks it over gRPC."""

from __future__ import annotations

import contextlib
import os
import subprocess
import threading
from concurrent import futures
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import grpc
from google.protobuf import empty_pb2, json_format, struct_pb2
from pulumi.runtime.proto import (
    engine_pb2,
    engine_pb2_grpc,
    provider_pb2,
    provider_pb2_grpc,
    status_pb2,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

PROJECT: Final = Path(__file__).resolve().parents[2]
UNKNOWN: Final = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
_SIGNATURE: Final = "4dabf18193072939515e22adb298388d"
_SECRET: Final = "1b47061264138c4ac30d75fd1eb44270"  # noqa: S105 a type, no password
_OUTPUT: Final = "d0e6a833031e9bbcd3f4e8bde6ca49a4"
_LIMITS: Final = (
    ("grpc.max_receive_message_length", 400 << 20),
    ("grpc.max_metadata_size", 16 << 20),  # errors are headers
    ("grpc.absolute_max_metadata_size", 16 << 20),
)

Json = Any


def secret(value: Json) -> Json:
    """A value as the engine sends it when it is a secret."""
    return {_SIGNATURE: _SECRET, "value": value}


def is_secret(value: Json) -> bool:
    """Whether a value is a secret, known or not."""
    if not isinstance(value, dict):
        return False
    tag = value.get(_SIGNATURE)
    return tag == _SECRET or (tag == _OUTPUT and value.get("secret") is True)


def revealed(value: Json) -> Json:
    """A value without its marks of secrecy."""
    if isinstance(value, dict) and _SIGNATURE in value:
        return revealed(value.get("value", UNKNOWN))
    if isinstance(value, dict):
        return {key: revealed(item) for key, item in value.items()}
    return value


def struct(values: Mapping[str, Json]) -> struct_pb2.Struct:
    message = struct_pb2.Struct()
    json_format.ParseDict(dict(values), message)
    return message


def plain(message: struct_pb2.Struct) -> dict[str, Json]:
    found: dict[str, Json] = json_format.MessageToDict(message)
    return found


class FailedError(Exception):
    """The plugin answered with an error; the text is what the user would read."""

    def __init__(self, text: str, left: Any = None) -> None:
        """`left` is the resource that goes into the state all the same, if there is one."""
        super().__init__(text)
        self.left = left


def _left(error: Any) -> Any:
    """What a failed create or update has left behind."""
    for name, value in error.trailing_metadata() or ():
        if name == "grpc-status-details-bin":
            for packed in status_pb2.Status.FromString(value).details:
                left = provider_pb2.ErrorResourceInitFailed()
                if packed.Unpack(left):
                    return left
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message to the user."""

    severity: str
    text: str
    urn: str
    passing: bool


class _Engine(engine_pb2_grpc.EngineServicer):
    def __init__(self) -> None:
        self.messages: list[Message] = []

    def Log(self, request: Any, context: Any) -> Any:  # noqa: N802 as the protocol has it
        del context
        self.messages.append(
            Message(
                severity=engine_pb2.LogSeverity.Name(request.severity),
                text=request.message,
                urn=request.urn,
                passing=request.ephemeral,
            )
        )
        return empty_pb2.Empty()


def _stop(server: grpc.Server) -> None:
    server.stop(grace=0).wait()


@dataclass(slots=True)
class Plugin:
    """One running plugin with an engine that only listens."""

    process: subprocess.Popen[bytes]
    stub: Any
    engine: _Engine
    _stack: contextlib.ExitStack
    _stderr: list[bytes] = field(default_factory=list)

    @classmethod
    def run(
        cls,
        binary: Path,
        *,
        environment: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        settings: Mapping[str, Json] | None = None,
    ) -> Self:
        """Start it and configure it; `environment` is added to that of the tests."""
        stack = contextlib.ExitStack()
        engine = _Engine()
        server = grpc.server(futures.ThreadPoolExecutor(16))
        engine_pb2_grpc.add_EngineServicer_to_server(engine, server)
        address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        server.start()
        stack.callback(_stop, server)
        without_agent = {k: v for k, v in os.environ.items() if k != "SSH_AUTH_SOCK"}
        process = subprocess.Popen(
            (str(binary), address),
            env={**without_agent, **(environment or {})},
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        plugin = cls(process, None, engine, stack)
        assert process.stdout is not None
        assert process.stderr is not None
        stack.callback(process.stdout.close)
        reader = threading.Thread(target=plugin._stderr.extend, args=(process.stderr,))
        reader.start()
        stack.callback(process.stderr.close)
        stack.callback(reader.join)
        port = process.stdout.readline().decode().strip()
        if not port.isdigit():
            plugin.stop()
            msg = f"no port but {port!r}: {plugin.stderr()}"
            raise RuntimeError(msg)
        channel = stack.enter_context(grpc.insecure_channel(f"127.0.0.1:{port}", options=_LIMITS))
        plugin.stub = provider_pb2_grpc.ResourceProviderStub(channel)
        plugin.stub.Configure(
            provider_pb2.ConfigureRequest(
                args=struct(settings or {}),
                acceptSecrets=True,
                acceptResources=True,
                sends_old_inputs=True,
                sends_old_inputs_to_delete=True,
            )
        )
        return plugin

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End the process and all that was opened for it."""
        self.process.kill()
        self.process.wait()
        self._stack.close()

    def stderr(self) -> str:
        """What the process said about itself; complete only after `stop`."""
        return b"".join(self._stderr).decode(errors="replace")

    def messages(self) -> list[str]:
        """The texts of the messages so far."""
        return [message.text for message in self.engine.messages]

    def check(self, kind: str, inputs: Mapping[str, Json]) -> tuple[dict[str, Json], list[str]]:
        """The checked inputs, and the failures as `property: reason`."""
        request = provider_pb2.CheckRequest(urn=urn(kind), news=struct(inputs))
        answer = self._ask("Check", request)
        failures = [f"{failure.property}: {failure.reason}" for failure in answer.failures]
        return plain(answer.inputs), failures

    def checked(self, kind: str, inputs: Mapping[str, Json]) -> dict[str, Json]:
        """The checked inputs, which must be good."""
        good, failures = self.check(kind, inputs)
        assert failures == []
        return good

    def diff(
        self,
        kind: str,
        old: Mapping[str, Json],
        new: Mapping[str, Json],
        ignored: Sequence[str] = (),
    ) -> Any:
        """The whole answer; old and new are inputs, checked here."""
        before, after = self.checked(kind, old), self.checked(kind, new)
        request = provider_pb2.DiffRequest(
            id="x",
            urn=urn(kind),
            olds=struct({**before, "stdout": "", "stderr": ""}),
            news=struct(after),
            old_inputs=struct(before),
            ignoreChanges=ignored,
        )
        return self._ask("Diff", request)

    def create(
        self,
        kind: str,
        inputs: Mapping[str, Json],
        *,
        preview: bool = False,
        timeout: float = 0,
        name: str = "it",
    ) -> tuple[str, dict[str, Json]]:
        """Check and create; the id and the state."""
        request = provider_pb2.CreateRequest(
            urn=urn(kind, name),
            properties=struct(self.checked(kind, inputs)),
            preview=preview,
            timeout=timeout,
        )
        answer = self._ask("Create", request)
        return answer.id, plain(answer.properties)

    def update(  # noqa: PLR0913 as the protocol has it
        self,
        kind: str,
        state: Mapping[str, Json],
        inputs: Mapping[str, Json],
        *,
        preview: bool = False,
        timeout: float = 0,
        ignored: Sequence[str] = (),
    ) -> dict[str, Json]:
        """Check and update; the new state."""
        request = provider_pb2.UpdateRequest(
            id="x",
            urn=urn(kind),
            olds=struct(state),
            news=struct(self.checked(kind, inputs)),
            preview=preview,
            timeout=timeout,
            ignoreChanges=ignored,
        )
        return plain(self._ask("Update", request).properties)

    def delete(self, kind: str, state: Mapping[str, Json], *, timeout: float = 0) -> None:
        """Delete by the state alone."""
        properties = struct(state)
        request = provider_pb2.DeleteRequest(
            id="x", urn=urn(kind), properties=properties, timeout=timeout
        )
        self._ask("Delete", request)

    def cancel(self) -> None:
        """What the engine sends on the first Ctrl-C."""
        self.stub.Cancel(empty_pb2.Empty())

    def ask(self, method: str, request: Any) -> Any:
        """Any other call."""
        return self._ask(method, request)

    def _ask(self, method: str, request: Any) -> Any:
        try:
            return getattr(self.stub, method)(request, timeout=120)
        except grpc.RpcError as error:
            raise FailedError(error.details() or "", _left(error)) from error


def urn(kind: str, name: str = "it") -> str:
    """The URN of a resource; the part before the `$` is its parent's type."""
    return f"urn:pulumi:dev::project::flakeup:index:Host${kind}::{name}"


@contextlib.contextmanager
def failing(*parts: str) -> Iterator[None]:
    """Expect the plugin's error to hold all of these."""
    try:
        yield
    except FailedError as error:
        text = str(error)
        lacking = [part for part in parts if part not in text]
        assert not lacking, f"{lacking} not in {text!r}"
    else:
        msg = "the plugin did not fail"
        raise AssertionError(msg)
