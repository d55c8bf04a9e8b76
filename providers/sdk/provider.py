"""The gRPC service: dispatches each call to the resource type that its URN names."""
# ruff: noqa: N802 the protocol names the methods

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, cast

import grpc
from google.protobuf import empty_pb2

from . import responses
from .cancellation import Cancellations
from .check import failures, problems, with_defaults, with_secrets
from .diagnostics import Diagnostics, Engine
from .diff import Diff, differences
from .errors import OperationError, PartialFailureError
from .inputs import Inputs
from .package_schema import document
from .resource import CheckContext, Operation, PriorState, Resource
from .stubs import plugin_pb2, provider_pb2, provider_pb2_grpc
from .values import (
    Properties,
    Secret,
    Value,
    decode,
    encode,
    merge_keeping_secrets,
    without_internal_keys,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from .plugin import Plugin


class Provider(provider_pb2_grpc.ResourceProviderServicer):
    """The provider service of one plugin; all calls run on one event loop."""

    def __init__(self, plugin: Plugin, engine: Engine) -> None:
        """`engine` receives the diagnostics of operations."""
        self._plugin = plugin
        self._resources = {resource.schema.token: resource for resource in plugin.resources}
        self._engine = engine
        self._cancellations = Cancellations()

    # Calls about the plugin.

    async def Handshake(self, request: Any, context: Any) -> Any:
        """Learn the engine's address; announce the features."""
        del context
        self._engine.address = request.engine_address or self._engine.address
        return provider_pb2.ProviderHandshakeResponse(accept_secrets=True)

    async def Attach(self, request: Any, context: Any) -> Any:
        """Learn the address of an engine that did not start this process."""
        del context
        self._engine.address = request.address
        return empty_pb2.Empty()

    async def GetPluginInfo(self, request: Any, context: Any) -> Any:
        """The plugin's version."""
        del request, context
        return plugin_pb2.PluginInfo(version=self._plugin.version)

    async def GetSchema(self, request: Any, context: Any) -> Any:
        """The package schema."""
        del request, context
        return provider_pb2.GetSchemaResponse(schema=document(self._plugin))

    async def CheckConfig(self, request: Any, context: Any) -> Any:
        """Check the known settings; all of them are returned as they came."""
        del context
        settings = decode(request.news)
        found = problems(self._config(settings), self._plugin.config)
        return responses.check_response(settings, tuple(failures(found)))

    async def DiffConfig(self, request: Any, context: Any) -> Any:
        """Report changed settings as updates: no resource is replaced because of one."""
        del context
        old, new = (self._config(decode(each)) for each in (request.olds, request.news))
        changed = differences(old, new, self._plugin.config)
        return responses.diff_response(Diff(differences=changed))

    async def Configure(self, request: Any, context: Any) -> Any:
        """Configure the plugin; announce secrets and previews."""
        try:
            await self._plugin.configure(Inputs(self._config(decode(request.args))))
        except OperationError as error:
            reason = str(error)
        else:
            return provider_pb2.ConfigureResponse(acceptSecrets=True, supportsPreview=True)
        return await responses.abort(context, reason)

    def _config(self, given: Properties) -> Properties:
        """The known settings; the engine sends those that are not strings as JSON text."""
        fields = self._plugin.config.fields
        return {
            name: value if fields[name].kind == "string" else _parse_json(value)
            for name, value in given.items()
            if name in fields
        }

    async def Cancel(self, request: Any, context: Any) -> Any:
        """Cancel all operations."""
        del request, context
        self._cancellations.cancel()
        return empty_pb2.Empty()

    async def Invoke(self, request: Any, context: Any) -> Any:
        """Call a function of the plugin."""
        try:
            result = await self._plugin.invoke(request.tok, Inputs(decode(request.args)))
        except OperationError as error:
            await responses.abort(context, str(error))
        if result is None:
            return await self._abort_unsupported(context, "function", request.tok)
        response: Any = provider_pb2.InvokeResponse()
        getattr(response, "return").CopyFrom(encode(result))
        return response

    async def Construct(self, request: Any, context: Any) -> Any:
        """Fail: there are no components."""
        await self._abort_unsupported(context, "component", request.type)

    async def Call(self, request: Any, context: Any) -> Any:
        """Fail: there are no methods."""
        await self._abort_unsupported(context, "method", request.tok)

    async def _abort_unsupported(self, context: Any, what: str, token: str) -> Any:
        text = self._plugin.unsupported_message(what, token)
        await responses.abort(context, text, code=grpc.StatusCode.NOT_FOUND)

    # Calls about a resource.

    async def Check(self, request: Any, context: Any) -> Any:
        """Check types, add defaults, mark secrets."""
        resource = await self._resource(request, context)
        check_context = CheckContext(
            urn=request.urn, old_inputs=decode(request.olds), random_seed=bytes(request.randomSeed)
        )
        inputs, found = await resource.check(decode(request.news), check_context)
        completed = inputs if found else with_defaults(inputs, resource.schema)
        # Secrets are marked after a failure, too: the inputs are shown with the error.
        return responses.check_response(with_secrets(completed, resource.schema), found)

    async def Diff(self, request: Any, context: Any) -> Any:
        """Compare the new inputs with the prior state."""
        resource = await self._resource(request, context)
        prior = _prior(request, request.olds, resource)
        new = _apply_ignore_changes(decode(request.news), prior, request.ignoreChanges)
        async with self._operation(request, context) as operation:
            return responses.diff_response(await resource.diff(new, prior, operation))

    async def Create(self, request: Any, context: Any) -> Any:
        """Create it. A failure records nothing, unless it is a partial one."""
        resource = await self._resource(request, context)
        inputs = decode(request.properties)
        async with self._operation(request, context, resource, inputs) as operation:
            if request.preview:
                resource_id, outputs = "", await resource.preview(inputs, None, operation)
            else:
                created = await resource.create(resource.parse(Inputs(inputs)), operation)
                resource_id, outputs = created.id, created.outputs
        state = _state(inputs, outputs, resource)
        return provider_pb2.CreateResponse(id=resource_id, properties=encode(state))

    async def Update(self, request: Any, context: Any) -> Any:
        """Update it. A failure keeps the prior state, unless it is a partial one."""
        resource = await self._resource(request, context)
        prior = _prior(request, request.olds, resource)
        inputs = _apply_ignore_changes(decode(request.news), prior, request.ignoreChanges)
        async with self._operation(request, context, resource, inputs) as operation:
            if request.preview:
                outputs = await resource.preview(inputs, prior, operation)
            else:
                typed = resource.parse(Inputs(inputs))
                outputs = await resource.update(typed, prior, operation)
        state = _state(inputs, outputs, resource)
        return provider_pb2.UpdateResponse(properties=encode(state))

    async def Delete(self, request: Any, context: Any) -> Any:
        """Delete it, by its prior state."""
        resource = await self._resource(request, context)
        async with self._operation(request, context) as operation:
            await resource.delete(_prior(request, request.properties, resource), operation)
        return empty_pb2.Empty()

    async def Read(self, request: Any, context: Any) -> Any:
        """Read it, for a refresh, or for an import, which has no state yet."""
        resource = await self._resource(request, context)
        inputs, state = decode(request.inputs), decode(request.properties)
        prior = PriorState(id=request.id, inputs=inputs, state=state)
        async with self._operation(request, context) as operation:
            result = await resource.read(prior, operation)
        if result is None:
            return provider_pb2.ReadResponse()
        inputs, state = resource.merge_read(prior, result)
        return provider_pb2.ReadResponse(
            id=request.id,
            properties=encode(with_secrets(state, resource.schema)),
            inputs=encode(with_secrets(inputs, resource.schema)),
        )

    async def _resource(self, request: Any, context: Any) -> Resource[Any]:
        """The resource type in the URN; aborts the call for an unsupported one."""
        token = request.urn.split("::")[2].rpartition("$")[2]
        if token not in self._resources:
            await self._abort_unsupported(context, "resource", token)
        return self._resources[token]

    @asynccontextmanager
    async def _operation(
        self,
        request: Any,
        context: Any,
        resource: Resource[Any] | None = None,
        inputs: Properties | None = None,
    ) -> AsyncIterator[Operation]:
        """Run one operation; an OperationError aborts the call.

        `resource` and `inputs` are needed for an operation that may fail partially.
        """
        diagnostics = Diagnostics(engine=self._engine, urn=request.urn)
        failed: OperationError | None = None
        try:
            with self._cancellations.operation(getattr(request, "timeout", 0)) as cancellation:
                yield Operation(
                    urn=request.urn,
                    cancellation=cancellation,
                    diagnostics=diagnostics,
                    ignore_changes=tuple(getattr(request, "ignoreChanges", ())),
                )
        except OperationError as error:
            failed = error
        finally:
            # Before the response: the engine drops messages for a finished resource.
            await diagnostics.close()
        if isinstance(failed, PartialFailureError) and resource is not None and inputs is not None:
            state = _state(inputs, failed.outputs, resource)
            resource_id = failed.resource_id
            await responses.abort_partial(
                context, str(failed), resource_id=resource_id, state=state, inputs=inputs
            )
        if failed is not None:
            await responses.abort(context, str(failed))


def _parse_json(value: Value) -> Value:
    if isinstance(value, Secret):
        return Secret(_parse_json(value.value))
    try:
        parsed = json.loads(value, parse_int=float) if isinstance(value, str) else value
    except ValueError:
        return value
    return cast("Value", parsed)


def _prior(request: Any, state: Any, resource: Resource[Any]) -> PriorState:
    """The prior state; an engine that sends no old inputs has them in the state only."""
    properties = decode(state)
    if request.HasField("old_inputs"):
        inputs = decode(request.old_inputs)
    else:
        inputs = {
            name: value for name, value in properties.items() if name in resource.schema.fields
        }
    return PriorState(id=request.id, inputs=inputs, state=properties)


def _apply_ignore_changes(new: Properties, prior: PriorState, ignored: Any) -> Properties:
    """The new inputs, with those in the program's `ignore_changes` as they were before."""
    return {**new, **{name: prior.inputs[name] for name in ignored if name in prior.inputs}}


def _state(inputs: Properties, outputs: Properties, resource: Resource[Any]) -> Properties:
    """Inputs and outputs together, without the check's notes in the inputs."""
    given = {
        name: without_internal_keys(value) for name, value in inputs.items() if name[:2] != "__"
    }
    return with_secrets(merge_keeping_secrets(given, outputs), resource.schema)
