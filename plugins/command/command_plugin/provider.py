"""The provider: what the engine asks, answered for the two resources."""
# ruff: noqa: N802 the calls are named by the protocol

from __future__ import annotations

import asyncio
import importlib
import os
import sys
from typing import Any, Final, NoReturn, Protocol, cast

import grpc
from google.protobuf import empty_pb2

from command_plugin import VERSION
from command_plugin.check import check
from command_plugin.diff import Change, Difference, diff
from command_plugin.inputs import Command, Output
from command_plugin.journal import Engine, Journal
from command_plugin.schema import LOCAL, RESOURCES, Shape, document
from command_plugin.scope import Scope, Scopes
from command_plugin.stubs import plugin_pb2, provider_pb2, provider_pb2_grpc
from command_plugin.texts import CommandError
from command_plugin.values import Properties, Secret, Unknown, Value, decode, encode, same

_KINDS: Final = {
    (Change.ADD, False): provider_pb2.PropertyDiff.ADD,
    (Change.ADD, True): provider_pb2.PropertyDiff.ADD_REPLACE,
    (Change.DELETE, False): provider_pb2.PropertyDiff.DELETE,
    (Change.DELETE, True): provider_pb2.PropertyDiff.DELETE_REPLACE,
    (Change.UPDATE, False): provider_pb2.PropertyDiff.UPDATE,
    (Change.UPDATE, True): provider_pb2.PropertyDiff.UPDATE_REPLACE,
}
_MODULES: Final = {True: "command_plugin.local", False: "command_plugin.remote"}


class Runner(Protocol):
    """What `local` and `remote` offer."""

    async def run(
        self, text: str, spec: Command, *, previous: Output, scope: Scope, journal: Journal
    ) -> Output:
        """Run a command to its end."""


class Provider(provider_pb2_grpc.ResourceProviderServicer):
    """Answers the engine; one instance a process, all on one event loop."""

    def __init__(self, engine: Engine) -> None:
        """`engine` takes the messages of running commands."""
        self._engine = engine
        self._scopes = Scopes()
        self._has_old_inputs = False

    # What the engine asks about the plugin.

    async def Handshake(self, request: Any, context: Any) -> Any:
        """Take the engine's address, say what is understood."""
        del context
        self._engine.address = request.engine_address or self._engine.address
        return provider_pb2.ProviderHandshakeResponse(accept_secrets=True)

    async def Attach(self, request: Any, context: Any) -> Any:
        """Take the address of an engine that did not start this process."""
        del context
        self._engine.address = request.address
        return empty_pb2.Empty()

    async def GetPluginInfo(self, request: Any, context: Any) -> Any:
        """The version that is followed."""
        del request, context
        return plugin_pb2.PluginInfo(version=VERSION)

    async def GetSchema(self, request: Any, context: Any) -> Any:
        """The package schema."""
        del request, context
        return provider_pb2.GetSchemaResponse(schema=document())

    async def CheckConfig(self, request: Any, context: Any) -> Any:
        """There is nothing to configure."""
        del context
        return provider_pb2.CheckResponse(inputs=request.news)

    async def DiffConfig(self, request: Any, context: Any) -> Any:
        """There is nothing to configure."""
        del request, context
        return provider_pb2.DiffResponse(changes=provider_pb2.DiffResponse.DIFF_NONE)

    async def Configure(self, request: Any, context: Any) -> Any:
        """Say what is understood: secrets, and previews."""
        del context
        self._has_old_inputs = request.sends_old_inputs and request.sends_old_inputs_to_delete
        return provider_pb2.ConfigureResponse(acceptSecrets=True, supportsPreview=True)

    async def Cancel(self, request: Any, context: Any) -> Any:
        """End dial loops and local shells; commands on other machines go on."""
        del request, context
        self._scopes.cancel()
        return empty_pb2.Empty()

    async def Invoke(self, request: Any, context: Any) -> Any:
        """No function is offered."""
        await _not_offered(context, "function", request.tok)

    async def Construct(self, request: Any, context: Any) -> Any:
        """No component is offered."""
        await _not_offered(context, "component", request.type)

    async def Call(self, request: Any, context: Any) -> Any:
        """No method is offered."""
        await _not_offered(context, "method", request.tok)

    # What the engine asks about a resource.

    async def Check(self, request: Any, context: Any) -> Any:
        """Types, defaults, secrets."""
        shape = await _shape(request.urn, context)
        inputs, failures = check(decode(request.news), shape)
        return provider_pb2.CheckResponse(
            inputs=encode(inputs),
            failures=[
                provider_pb2.CheckFailure(property=failure.field, reason=failure.reason)
                for failure in failures
            ],
        )

    async def Diff(self, request: Any, context: Any) -> Any:
        """Any changed input is an update; nothing is asked of anyone."""
        shape = await _shape(request.urn, context)
        state = decode(request.olds)
        new = _ignoring(decode(request.news), state, request.ignoreChanges)
        old = decode(request.old_inputs) if self._has_old_inputs else None
        if old is None:
            old = {name: value for name, value in state.items() if name in shape.fields}
        return _diff_response(diff(old, new, shape))

    async def Create(self, request: Any, context: Any) -> Any:
        """Run `create`; without one, nothing is done. A failure stores nothing."""
        shape = await _shape(request.urn, context)
        inputs = decode(request.properties)
        name = request.urn.rsplit("::", 1)[-1]
        identity = name + os.urandom(4).hex()
        if request.preview:
            shown: Properties = {**inputs, "stdout": Unknown(), "stderr": Unknown()}
            return provider_pb2.CreateResponse(id=identity, properties=encode(shown))
        spec = Command.of(inputs, is_local=shape is LOCAL)
        output = await self._run(request, context, spec, spec.create, Output())
        state = _state(inputs, output)
        return provider_pb2.CreateResponse(id=identity, properties=encode(state))

    async def Update(self, request: Any, context: Any) -> Any:
        """Run `update`, else `create`, else nothing. A failure keeps the old state."""
        shape = await _shape(request.urn, context)
        old = decode(request.olds)
        inputs = _ignoring(decode(request.news), old, request.ignoreChanges)
        previous = Output.of(old)
        if request.preview:
            shown = _previewed(inputs, old, shape)
            return provider_pb2.UpdateResponse(properties=encode(shown))
        spec = Command.of(inputs, is_local=shape is LOCAL)
        text = spec.create if spec.update is None else spec.update
        output = await self._run(request, context, spec, text, previous)
        return provider_pb2.UpdateResponse(properties=encode(_state(inputs, output)))

    async def Delete(self, request: Any, context: Any) -> Any:
        """Run `delete` as the state has it; without one nothing is done."""
        shape = await _shape(request.urn, context)
        state = decode(request.properties)
        spec = Command.of(state, is_local=shape is LOCAL)
        await self._run(request, context, spec, spec.delete, Output.of(state))
        return empty_pb2.Empty()

    async def Read(self, request: Any, context: Any) -> Any:
        """The state as it is stored: nobody is asked."""
        await _shape(request.urn, context)
        return provider_pb2.ReadResponse(
            id=request.id, properties=request.properties, inputs=request.inputs
        )

    async def _run(
        self, request: Any, context: Any, spec: Command, text: str | None, previous: Output
    ) -> Output:
        """Run one command for one resource; aborts the call when it fails."""
        if text is None:
            return previous
        journal = Journal(engine=self._engine, urn=request.urn)
        try:
            runner = await _runner(is_local=spec.is_local)
            with self._scopes.operation(request.timeout) as scope:
                return await runner.run(text, spec, previous=previous, scope=scope, journal=journal)
        except CommandError as error:
            why = str(error)
        finally:
            # Before the answer: the engine takes no message for a resource that is done.
            await journal.close()
        return await _abort(context, grpc.StatusCode.UNKNOWN, why)


async def _runner(*, is_local: bool) -> Runner:
    """The module that runs commands; asyncssh is only loaded for a remote one, off the loop."""
    name = _MODULES[is_local]
    try:
        return cast("Runner", await asyncio.to_thread(importlib.import_module, name))
    except ImportError as error:
        msg = f"the Python package {error.name!r} is missing: install it into {sys.prefix}"
        raise CommandError(msg) from error


async def _shape(urn: str, context: Any) -> Shape:
    """The resource that a URN names; aborts the call for one that is not offered."""
    _, _, rest = urn.partition("::")
    _, _, rest = rest.partition("::")
    token = rest.partition("::")[0].rpartition("$")[2]
    found = RESOURCES.get(token)
    if found is None:
        await _not_offered(context, "resource", token)
    return found


async def _not_offered(context: Any, what: str, token: str) -> NoReturn:
    text = (
        f"{what} {token!r} is not in this stand-in for pulumi-command: it has "
        f"{', '.join(sorted(RESOURCES))}; install the released plugin for the others"
    )
    await _abort(context, grpc.StatusCode.NOT_FOUND, text)


async def _abort(context: Any, code: grpc.StatusCode, text: str) -> NoReturn:
    """End the call with an error; the engine shows its text."""
    await context.abort(code, text)
    raise AssertionError  # abort raises


def _ignoring(new: Properties, state: Properties, ignored: Any) -> Properties:
    """The new inputs with those put back that the program wants to be left alone."""
    kept = {name: state[name] for name in ignored if name in state}
    return {**new, **kept}


def _state(inputs: Properties, output: Output) -> Properties:
    return {**inputs, "stdout": output.stdout, "stderr": output.stderr}


def _previewed(inputs: Properties, old: Properties, shape: Shape) -> Properties:
    """What an update will leave: its inputs, and output that nobody knows when any changed.

    As in the release an input that is new, rather than changed, is not taken for a change here.
    """
    changed = any(
        _is_unknown(inputs.get(name)) or (name in old and not same(inputs.get(name), old[name]))
        for name in shape.fields
    )
    stored: Properties = {name: old.get(name, "") for name in ("stdout", "stderr")}
    return {**inputs, **({name: Unknown() for name in stored} if changed else stored)}


def _is_unknown(value: Value) -> bool:
    return isinstance(value.value if isinstance(value, Secret) else value, Unknown)


def _diff_response(found: tuple[Difference, ...]) -> Any:
    some, none = provider_pb2.DiffResponse.DIFF_SOME, provider_pb2.DiffResponse.DIFF_NONE
    return provider_pb2.DiffResponse(
        changes=some if found else none,
        diffs=sorted({change.top for change in found}),
        replaces=sorted({change.top for change in found if change.replaces}),
        hasDetailedDiff=True,
        detailedDiff={
            change.path: provider_pb2.PropertyDiff(kind=_KINDS[change.change, change.replaces])
            for change in found
        },
    )
