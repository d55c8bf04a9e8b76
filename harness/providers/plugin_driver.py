"""Drives a provider plugin as the engine does: starts it, and calls it over gRPC."""

from __future__ import annotations

import contextlib
import json
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
    ("grpc.max_metadata_size", 16 << 20),  # errors are sent as headers
    ("grpc.absolute_max_metadata_size", 16 << 20),
)

Json = Any


def secret(value: Json) -> Json:
    """A secret, as the engine sends it."""
    return {_SIGNATURE: _SECRET, "value": value}


def is_secret(value: Json) -> bool:
    """Whether a value is a secret, known or not."""
    if not isinstance(value, dict):
        return False
    tag = value.get(_SIGNATURE)
    return tag == _SECRET or (tag == _OUTPUT and value.get("secret") is True)


def reveal(value: Json) -> Json:
    """The plain value of a secret, at any depth."""
    if isinstance(value, dict) and _SIGNATURE in value:
        return reveal(value.get("value", UNKNOWN))
    if isinstance(value, dict):
        return {key: reveal(item) for key, item in value.items()}
    return value


def to_struct(values: Mapping[str, Json]) -> struct_pb2.Struct:
    message = struct_pb2.Struct()
    json_format.ParseDict(dict(values), message)
    return message


def from_struct(message: struct_pb2.Struct) -> dict[str, Json]:
    found: dict[str, Json] = json_format.MessageToDict(message)
    return found


class PluginError(Exception):
    """The plugin answered with an error; the text is what the user reads."""

    def __init__(self, text: str, partial: Any = None) -> None:
        """`partial` is the resource that goes into the state nevertheless, if any."""
        super().__init__(text)
        self.partial = partial


def _partial(error: Any) -> Any:
    """The resource in the error of a create or update that failed partially."""
    for name, value in error.trailing_metadata() or ():
        if name == "grpc-status-details-bin":
            for packed in status_pb2.Status.FromString(value).details:
                detail = provider_pb2.ErrorResourceInitFailed()
                if packed.Unpack(detail):
                    return detail
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message to the user."""

    severity: str
    text: str
    urn: str
    ephemeral: bool


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
                ephemeral=request.ephemeral,
            )
        )
        return empty_pb2.Empty()


def _serve(engine: _Engine, stack: contextlib.ExitStack) -> str:
    """Serve the engine until the stack is closed; returns its address."""
    server = grpc.server(futures.ThreadPoolExecutor(16))
    engine_pb2_grpc.add_EngineServicer_to_server(engine, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    stack.callback(lambda: server.stop(grace=0).wait())
    return f"127.0.0.1:{port}"


def _start(
    binary: Path, address: str, environment: Mapping[str, str] | None, cwd: Path | None
) -> subprocess.Popen[bytes]:
    without_agent = {k: v for k, v in os.environ.items() if k != "SSH_AUTH_SOCK"}
    return subprocess.Popen(
        (str(binary), address),
        env={**without_agent, **(environment or {})},
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


@dataclass(slots=True)
class Plugin:
    """A running plugin, with an engine that only receives messages."""

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
        """Start and configure it; `environment` is added to that of the tests."""
        stack = contextlib.ExitStack()
        engine = _Engine()
        process = _start(binary, _serve(engine, stack), environment, cwd)
        plugin = cls(process, None, engine, stack)
        plugin.stub = plugin._connect()
        request = provider_pb2.ConfigureRequest(
            args=to_struct(settings or {}),
            variables={
                f"{binary.name.rpartition('-')[2]}:config:{key}": _variable(value)
                for key, value in (settings or {}).items()
            },
            acceptSecrets=True,
            acceptResources=True,
            sends_old_inputs=True,
            sends_old_inputs_to_delete=True,
        )
        try:
            plugin.call("Configure", request)
        except PluginError:
            plugin.stop()
            raise
        return plugin

    def _connect(self) -> Any:
        """Read the port that the process prints, and connect to it."""
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        self._stack.callback(self.process.stdout.close)
        reader = threading.Thread(target=self._stderr.extend, args=(self.process.stderr,))
        reader.start()
        self._stack.callback(self.process.stderr.close)
        self._stack.callback(reader.join)
        port = self.process.stdout.readline().decode().strip()
        if not port.isdigit():
            self.stop()
            msg = f"no port, but {port!r}: {self.stderr()}"
            raise RuntimeError(msg)
        channel = grpc.insecure_channel(f"127.0.0.1:{port}", options=_LIMITS)
        return provider_pb2_grpc.ResourceProviderStub(self._stack.enter_context(channel))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Kill the process and release everything that was opened for it."""
        self.process.kill()
        self.process.wait()
        self._stack.close()

    def stderr(self) -> str:
        """The stderr of the process; complete only after `stop`."""
        return b"".join(self._stderr).decode(errors="replace")

    def messages(self) -> list[str]:
        """The texts of all messages so far."""
        return [message.text for message in self.engine.messages]

    def check(
        self,
        kind: str,
        inputs: Mapping[str, Json],
        *,
        name: str = "it",
        old: Mapping[str, Json] | None = None,
        seed: bytes = b"seed",
    ) -> tuple[dict[str, Json], list[str]]:
        """Check; returns the checked inputs, and the failures as `property: reason`."""
        request = provider_pb2.CheckRequest(
            urn=urn(kind, name),
            olds=to_struct(old or {}),
            news=to_struct(inputs),
            randomSeed=seed,
        )
        response = self.call("Check", request)
        failures = [f"{failure.property}: {failure.reason}" for failure in response.failures]
        return from_struct(response.inputs), failures

    def checked(
        self,
        kind: str,
        inputs: Mapping[str, Json],
        *,
        name: str = "it",
        old: Mapping[str, Json] | None = None,
    ) -> dict[str, Json]:
        """Check inputs, which must be valid; returns the checked ones."""
        checked, failures = self.check(kind, inputs, name=name, old=old)
        assert failures == []
        return checked

    def diff(
        self,
        kind: str,
        old: Mapping[str, Json],
        new: Mapping[str, Json],
        ignored: Sequence[str] = (),
    ) -> Any:
        """Check and diff two sets of inputs; returns the whole response."""
        before, after = self.checked(kind, old), self.checked(kind, new)
        request = provider_pb2.DiffRequest(
            id="x",
            urn=urn(kind),
            olds=to_struct({**before, "stdout": "", "stderr": ""}),
            news=to_struct(after),
            old_inputs=to_struct(before),
            ignoreChanges=ignored,
        )
        return self.call("Diff", request)

    def create(
        self,
        kind: str,
        inputs: Mapping[str, Json],
        *,
        preview: bool = False,
        timeout: float = 0,
        name: str = "it",
    ) -> tuple[str, dict[str, Json]]:
        """Check and create; returns the id and the state."""
        request = provider_pb2.CreateRequest(
            urn=urn(kind, name),
            properties=to_struct(self.checked(kind, inputs)),
            preview=preview,
            timeout=timeout,
        )
        response = self.call("Create", request)
        return response.id, from_struct(response.properties)

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
        """Check and update; returns the new state."""
        request = provider_pb2.UpdateRequest(
            id="x",
            urn=urn(kind),
            olds=to_struct(state),
            news=to_struct(self.checked(kind, inputs)),
            preview=preview,
            timeout=timeout,
            ignoreChanges=ignored,
        )
        return from_struct(self.call("Update", request).properties)

    def delete(self, kind: str, state: Mapping[str, Json], *, timeout: float = 0) -> None:
        """Delete, by the state alone."""
        properties = to_struct(state)
        request = provider_pb2.DeleteRequest(
            id="x", urn=urn(kind), properties=properties, timeout=timeout
        )
        self.call("Delete", request)

    def cancel(self) -> None:
        """Send what the engine sends on the first Ctrl-C."""
        self.stub.Cancel(empty_pb2.Empty())

    def call(self, method: str, request: Any) -> Any:
        """Call any method.

        Raises:
            PluginError: it failed.
        """
        try:
            return getattr(self.stub, method)(request, timeout=120)
        except grpc.RpcError as error:
            raise PluginError(error.details() or "", _partial(error)) from error


def urn(kind: str, name: str = "it") -> str:
    """The URN of a resource; the type before the `$` is its parent's."""
    return f"urn:pulumi:dev::project::flakeup:index:Host${kind}::{name}"


def _variable(value: Json) -> str:
    """A setting as the engine sends it in `variables`: JSON, if it is not text."""
    return value if isinstance(value, str) else json.dumps(value)


@contextlib.contextmanager
def failing(*parts: str) -> Iterator[None]:
    """Expect an error of the plugin that contains all parts."""
    try:
        yield
    except PluginError as error:
        text = str(error)
        missing = [part for part in parts if part not in text]
        assert not missing, f"{missing} not in {text!r}"
    else:
        msg = "the plugin did not fail"
        raise AssertionError(msg)
