"""The two resource types, and the plugin that serves them."""

from __future__ import annotations

import asyncio
import dataclasses
import importlib
import os
import sys
from typing import TYPE_CHECKING, Any, ClassVar, Final, Protocol, cast

from providers.sdk.diff import Diff
from providers.sdk.errors import OperationError
from providers.sdk.inputs import Inputs
from providers.sdk.plugin import Plugin
from providers.sdk.resource import Created, Resource
from providers.sdk.values import Unknown, equal, unwrap

from standins.command import VERSION
from standins.command.check import check
from standins.command.inputs import Command, Output
from standins.command.schema import LOCAL, REMOTE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from providers.sdk.cancellation import Cancellation
    from providers.sdk.check import Failure
    from providers.sdk.diagnostics import Diagnostics
    from providers.sdk.resource import CheckContext, Operation, PriorState
    from providers.sdk.schema import Schema
    from providers.sdk.values import Properties

_OUTPUTS: Final = ("stdout", "stderr")


class Runner(Protocol):
    """The interface of the modules `local` and `remote`."""

    async def run(
        self,
        command: str,
        spec: Command,
        *,
        previous: Output,
        cancellation: Cancellation,
        diagnostics: Diagnostics,
    ) -> Output:
        """Run a command to completion."""


class _Command(Resource[Command]):
    """A command; the commands for create, update and delete are its inputs."""

    module: ClassVar[str]

    def parse(self, inputs: Inputs) -> Command:
        return Command.of(inputs)

    async def check(
        self, inputs: Properties, context: CheckContext
    ) -> tuple[Properties, Sequence[Failure]]:
        """Check types only."""
        del context
        return inputs, check(inputs, self.schema)

    async def diff(self, new: Properties, prior: PriorState, operation: Operation) -> Diff:
        """A changed input is an update; added or removed `triggers` are a replacement.

        As in the released plugin, a changed element of `triggers` is an update, too: the SDK adds
        `replace_on_changes=["triggers[*]"]`, because of which the engine replaces.
        """
        found = await super().diff(new, prior, operation)
        return Diff(
            differences=tuple(
                dataclasses.replace(each, replaces=each.replaces and each.path == each.top)
                for each in found.differences
            )
        )

    async def preview(
        self, inputs: Properties, prior: PriorState | None, operation: Operation
    ) -> Properties:
        """The prior output; unknown if an input is changed or unknown.

        As in the released plugin, an added input does not count as a change here.
        """
        if prior is None:
            return await super().preview(inputs, prior, operation)
        old = prior.state
        changed = any(
            isinstance(unwrap(inputs.get(name)), Unknown)
            or (name in old and not equal(inputs.get(name), old[name]))
            for name in self.schema.fields
        )
        return {name: Unknown() if changed else old.get(name, "") for name in _OUTPUTS}

    async def create(self, inputs: Command, operation: Operation) -> Created:
        """Run `create`, if given."""
        output = await self._run(inputs.create, inputs, Output(), operation)
        return Created(id=operation.name + os.urandom(4).hex(), outputs=output.properties())

    async def update(self, inputs: Command, prior: PriorState, operation: Operation) -> Properties:
        """Run `update`, else `create`, if given."""
        command = inputs.create if inputs.update is None else inputs.update
        output = await self._run(command, inputs, Output.of(Inputs(prior.state)), operation)
        return output.properties()

    async def delete(self, prior: PriorState, operation: Operation) -> None:
        """Run `delete` from the state, if given."""
        state = Inputs(prior.state)
        spec = self.parse(state)
        await self._run(spec.delete, spec, Output.of(state), operation)

    async def _run(
        self, command: str | None, spec: Command, previous: Output, operation: Operation
    ) -> Output:
        if command is None:
            return previous
        runner = await _runner(self.module)
        cancellation, diagnostics = operation.cancellation, operation.diagnostics
        return await runner.run(
            command, spec, previous=previous, cancellation=cancellation, diagnostics=diagnostics
        )


class LocalCommand(_Command):
    """On this machine."""

    schema: ClassVar[Schema] = LOCAL
    module = "standins.command.local"


class RemoteCommand(_Command):
    """On another machine, over ssh."""

    schema: ClassVar[Schema] = REMOTE
    module = "standins.command.remote"


class CommandPlugin(Plugin):
    """The stand-in for pulumi-command."""

    name = "command"
    version = VERSION

    def __init__(self) -> None:
        self.resources: Sequence[Resource[Any]] = (LocalCommand(), RemoteCommand())

    def unsupported_message(self, what: str, token: str) -> str:
        """The error, which names the released plugin as the remedy."""
        return (
            f"{what} {token!r} is not in this stand-in for pulumi-command: it has "
            f"{LOCAL.token}, {REMOTE.token}; install the released plugin for the others"
        )


async def _runner(module: str) -> Runner:
    """Import the module that runs commands; only the remote one loads asyncssh, in a thread."""
    try:
        return cast("Runner", await asyncio.to_thread(importlib.import_module, module))
    except ImportError as error:
        msg = f"the Python package {error.name!r} is missing: install it into {sys.prefix}"
        raise OperationError(msg) from error
