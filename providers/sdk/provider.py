"""The provider: what the engine asks, answered by the resource type that a URN names."""
# ruff: noqa: N802 the calls are named by the protocol

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, cast

import grpc
from google.protobuf import empty_pb2

from . import answers
from .check import failures, problems, with_defaults, with_secrets
from .diff import Diff, differences
from .errors import OperationError, PartlyDoneError
from .inputs import Inputs
from .journal import Engine, Journal
from .resource import Operation, Proposal, Resource, Stored
from .schema import document
from .scope import Scopes
from .stubs import plugin_pb2, provider_pb2, provider_pb2_grpc
from .values import Properties, Secret, Value, decode, encode, with_marks, without_notes

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from .plugin import Plugin


class Provider(provider_pb2_grpc.ResourceProviderServicer):
    """Answers the engine; one instance a process, all on one event loop."""

    def __init__(self, plugin: Plugin, engine: Engine) -> None:
        """`engine` takes the messages of operations."""
        self._plugin = plugin
        self._resources = {resource.shape.token: resource for resource in plugin.resources}
        self._engine = engine
        self._scopes = Scopes()

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
        """The version that is served."""
        del request, context
        return plugin_pb2.PluginInfo(version=self._plugin.version)

    async def GetSchema(self, request: Any, context: Any) -> Any:
        """The package schema."""
        del request, context
        return provider_pb2.GetSchemaResponse(schema=document(self._plugin))

    async def CheckConfig(self, request: Any, context: Any) -> Any:
        """Whether the settings are ones that there are; they go on as they came."""
        del context
        found = problems(self._settings(decode(request.news)), self._plugin.settings)
        return answers.checked(decode(request.news), tuple(failures(found)))

    async def DiffConfig(self, request: Any, context: Any) -> Any:
        """A changed setting is an update of the provider: no resource is replaced for it."""
        del context
        old, new = (self._settings(decode(each)) for each in (request.olds, request.news))
        return answers.changes(Diff(differences=differences(old, new, self._plugin.settings)))

    async def Configure(self, request: Any, context: Any) -> Any:
        """Take the settings, say what is understood: secrets, and previews."""
        try:
            await self._plugin.configure(Inputs(self._settings(decode(request.args))))
        except OperationError as error:
            why = str(error)
        else:
            return provider_pb2.ConfigureResponse(acceptSecrets=True, supportsPreview=True)
        return await answers.abort(context, why)

    def _settings(self, given: Properties) -> Properties:
        """The settings that there are; what is no text comes as JSON in a text."""
        fields = self._plugin.settings.fields
        return {
            name: value if fields[name].kind == "string" else _unpacked(value)
            for name, value in given.items()
            if name in fields
        }

    async def Cancel(self, request: Any, context: Any) -> Any:
        """End the waits of all operations."""
        del request, context
        self._scopes.cancel()
        return empty_pb2.Empty()

    async def Invoke(self, request: Any, context: Any) -> Any:
        """A function, where the plugin has it."""
        try:
            answer = await self._plugin.call(request.tok, Inputs(decode(request.args)))
        except OperationError as error:
            await answers.abort(context, str(error))
        if answer is None:
            return await self._not_offered(context, "function", request.tok)
        response: Any = provider_pb2.InvokeResponse()
        getattr(response, "return").CopyFrom(encode(answer))
        return response

    async def Construct(self, request: Any, context: Any) -> Any:
        """No component is offered."""
        await self._not_offered(context, "component", request.type)

    async def Call(self, request: Any, context: Any) -> Any:
        """No method is offered."""
        await self._not_offered(context, "method", request.tok)

    async def _not_offered(self, context: Any, what: str, token: str) -> Any:
        text = self._plugin.not_offered(what, token)
        await answers.abort(context, text, code=grpc.StatusCode.NOT_FOUND)

    # What the engine asks about a resource.

    async def Check(self, request: Any, context: Any) -> Any:
        """Types, defaults, secrets."""
        resource = await self._resource(request, context)
        old = decode(request.olds)
        proposal = Proposal(urn=request.urn, old=old, seed=bytes(request.randomSeed))
        inputs, wrong = await resource.check(decode(request.news), proposal)
        filled = inputs if wrong else with_defaults(inputs, resource.shape)
        # Also where something is wrong: the inputs are shown with the error.
        return answers.checked(with_secrets(filled, resource.shape), wrong)

    async def Diff(self, request: Any, context: Any) -> Any:
        """What the new inputs change."""
        resource = await self._resource(request, context)
        stored = _stored(request, request.olds, resource)
        new = _ignoring(decode(request.news), stored, request.ignoreChanges)
        async with self._operation(request, context) as operation:
            return answers.changes(await resource.diff(new, stored, operation))

    async def Create(self, request: Any, context: Any) -> Any:
        """Make it. A failure stores nothing, unless it says what was made."""
        resource = await self._resource(request, context)
        inputs = decode(request.properties)
        async with self._operation(request, context, resource, inputs) as operation:
            if request.preview:
                identity, outputs = "", await resource.planned(inputs, None, operation)
            else:
                made = await resource.create(resource.parse(Inputs(inputs)), operation)
                identity, outputs = made.identity, made.outputs
        state = _state(inputs, outputs, resource)
        return provider_pb2.CreateResponse(id=identity, properties=encode(state))

    async def Update(self, request: Any, context: Any) -> Any:
        """Change it. A failure keeps the old state, unless it says what was done."""
        resource = await self._resource(request, context)
        stored = _stored(request, request.olds, resource)
        inputs = _ignoring(decode(request.news), stored, request.ignoreChanges)
        async with self._operation(request, context, resource, inputs) as operation:
            if request.preview:
                outputs = await resource.planned(inputs, stored, operation)
            else:
                typed = resource.parse(Inputs(inputs))
                outputs = await resource.update(typed, stored, operation)
        state = _state(inputs, outputs, resource)
        return provider_pb2.UpdateResponse(properties=encode(state))

    async def Delete(self, request: Any, context: Any) -> Any:
        """Remove it, as the state has it."""
        resource = await self._resource(request, context)
        async with self._operation(request, context) as operation:
            await resource.delete(_stored(request, request.properties, resource), operation)
        return empty_pb2.Empty()

    async def Read(self, request: Any, context: Any) -> Any:
        """Look at it: for a refresh, or for an import, when the state says nothing yet."""
        resource = await self._resource(request, context)
        inputs, state = decode(request.inputs), decode(request.properties)
        stored = Stored(identity=request.id, inputs=inputs, state=state)
        async with self._operation(request, context) as operation:
            found = await resource.read(stored, operation)
        if found is None:
            return provider_pb2.ReadResponse()
        inputs, state = resource.refreshed(stored, found)
        return provider_pb2.ReadResponse(
            id=request.id,
            properties=encode(with_secrets(state, resource.shape)),
            inputs=encode(with_secrets(inputs, resource.shape)),
        )

    async def _resource(self, request: Any, context: Any) -> Resource[Any]:
        """The type that the URN names; aborts the call for one that is not offered."""
        token = request.urn.split("::")[2].rpartition("$")[2]
        if token not in self._resources:
            await self._not_offered(context, "resource", token)
        return self._resources[token]

    @asynccontextmanager
    async def _operation(
        self,
        request: Any,
        context: Any,
        resource: Resource[Any] | None = None,
        inputs: Properties | None = None,
    ) -> AsyncIterator[Operation]:
        """One operation; an error of it aborts the call.

        `resource` and `inputs` are given where something may be left half-done.
        """
        journal = Journal(engine=self._engine, urn=request.urn)
        failed: OperationError | None = None
        try:
            with self._scopes.operation(getattr(request, "timeout", 0)) as scope:
                ignored = tuple(getattr(request, "ignoreChanges", ()))
                yield Operation(urn=request.urn, scope=scope, journal=journal, ignored=ignored)
        except OperationError as error:
            failed = error
        finally:
            # Before the answer: the engine takes no message for a resource that is done.
            await journal.close()
        if isinstance(failed, PartlyDoneError) and resource is not None and inputs is not None:
            state = _state(inputs, failed.outputs, resource)
            await answers.abort_partly(
                context, str(failed), identity=failed.identity, state=state, inputs=inputs
            )
        if failed is not None:
            await answers.abort(context, str(failed))


def _unpacked(value: Value) -> Value:
    if isinstance(value, Secret):
        return Secret(_unpacked(value.value))
    try:
        read = json.loads(value, parse_int=float) if isinstance(value, str) else value
    except ValueError:
        return value
    return cast("Value", read)


def _stored(request: Any, state: Any, resource: Resource[Any]) -> Stored:
    """What the state has; an engine that sends no old inputs has them among the state."""
    known = decode(state)
    if request.HasField("old_inputs"):
        inputs = decode(request.old_inputs)
    else:
        inputs = {name: value for name, value in known.items() if name in resource.shape.fields}
    return Stored(identity=request.id, inputs=inputs, state=known)


def _ignoring(new: Properties, stored: Stored, ignored: Any) -> Properties:
    """The new inputs with those put back that the program wants to be left alone."""
    return {**new, **{name: stored.inputs[name] for name in ignored if name in stored.inputs}}


def _state(inputs: Properties, outputs: Properties, resource: Resource[Any]) -> Properties:
    """Inputs and outputs, without what a check has noted for the next one."""
    given = {name: without_notes(value) for name, value in inputs.items() if name[:2] != "__"}
    return with_secrets(with_marks(given, outputs), resource.shape)
