"""The two resources, and the plugin that serves them."""

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
from providers.sdk.values import Unknown, bare, same

from standins.command import VERSION
from standins.command.check import check
from standins.command.inputs import Command, Output
from standins.command.schema import LOCAL, REMOTE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from providers.sdk.check import Failure
    from providers.sdk.fields import Shape
    from providers.sdk.journal import Journal
    from providers.sdk.resource import Operation, Proposal, Stored
    from providers.sdk.scope import Scope
    from providers.sdk.values import Properties

_OUTPUTS: Final = ("stdout", "stderr")


class Runner(Protocol):
    """What the modules `local` and `remote` offer."""

    async def run(
        self, text: str, spec: Command, *, previous: Output, scope: Scope, journal: Journal
    ) -> Output:
        """Run a command to its end."""


class _Command(Resource[Command]):
    """A command: what is done is what its texts say."""

    module: ClassVar[str]

    def parse(self, inputs: Inputs) -> Command:
        return Command.of(inputs)

    async def check(
        self, inputs: Properties, proposal: Proposal
    ) -> tuple[Properties, Sequence[Failure]]:
        """Types only."""
        del proposal
        return inputs, check(inputs, self.shape)

    async def diff(self, new: Properties, stored: Stored, operation: Operation) -> Diff:
        """Any changed input is an update, a whole `triggers` a replacement.

        A changed element of `triggers` is an update too, as in the release: it is the SDK that adds
        `replace_on_changes=["triggers[*]"]`, and the engine that replaces because of it.
        """
        found = await super().diff(new, stored, operation)
        return Diff(
            differences=tuple(
                dataclasses.replace(each, replaces=each.replaces and each.path == each.top)
                for each in found.differences
            )
        )

    async def planned(
        self, inputs: Properties, stored: Stored | None, operation: Operation
    ) -> Properties:
        """The output that is stored; one that nobody knows where an input is changed or unknown.

        As in the release an input that is new, rather than changed, is not taken for a change here.
        """
        if stored is None:
            return await super().planned(inputs, stored, operation)
        old = stored.state
        changed = any(
            isinstance(bare(inputs.get(name)), Unknown)
            or (name in old and not same(inputs.get(name), old[name]))
            for name in self.shape.fields
        )
        return {name: Unknown() if changed else old.get(name, "") for name in _OUTPUTS}

    async def create(self, inputs: Command, operation: Operation) -> Created:
        """Run `create`; without one nothing is done."""
        output = await self._run(inputs.create, inputs, Output(), operation)
        return Created(identity=operation.name + os.urandom(4).hex(), outputs=output.properties())

    async def update(self, inputs: Command, stored: Stored, operation: Operation) -> Properties:
        """Run `update`, else `create`, else nothing."""
        text = inputs.create if inputs.update is None else inputs.update
        output = await self._run(text, inputs, Output.of(Inputs(stored.state)), operation)
        return output.properties()

    async def delete(self, stored: Stored, operation: Operation) -> None:
        """Run `delete` as the state has it; without one nothing is done."""
        state = Inputs(stored.state)
        spec = self.parse(state)
        await self._run(spec.delete, spec, Output.of(state), operation)

    async def _run(
        self, text: str | None, spec: Command, previous: Output, operation: Operation
    ) -> Output:
        if text is None:
            return previous
        runner = await _runner(self.module)
        scope, journal = operation.scope, operation.journal
        return await runner.run(text, spec, previous=previous, scope=scope, journal=journal)


class LocalCommand(_Command):
    """On this machine."""

    shape: ClassVar[Shape] = LOCAL
    module = "standins.command.local"


class RemoteCommand(_Command):
    """On another machine, over ssh."""

    shape: ClassVar[Shape] = REMOTE
    module = "standins.command.remote"


class CommandPlugin(Plugin):
    """The stand-in for pulumi-command."""

    name = "command"
    version = VERSION

    def __init__(self) -> None:
        self.resources: Sequence[Resource[Any]] = (LocalCommand(), RemoteCommand())

    def not_offered(self, what: str, token: str) -> str:
        """The release has more of them."""
        return (
            f"{what} {token!r} is not in this stand-in for pulumi-command: it has "
            f"{LOCAL.token}, {REMOTE.token}; install the released plugin for the others"
        )


async def _runner(module: str) -> Runner:
    """The module that runs commands; asyncssh is only loaded for a remote one, off the loop."""
    try:
        return cast("Runner", await asyncio.to_thread(importlib.import_module, module))
    except ImportError as error:
        msg = f"the Python package {error.name!r} is missing: install it into {sys.prefix}"
        raise OperationError(msg) from error
