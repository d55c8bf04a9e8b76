"""A resource type: its table, and what is done on create, read, update and delete."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Generic, TypeVar

from .check import Failure, failures, problems
from .diff import Diff, differences
from .values import Unknown, with_marks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .fields import Shape
    from .inputs import Inputs
    from .journal import Journal
    from .scope import Scope
    from .values import Properties, Value

I = TypeVar("I")  # noqa: E741 as a type variable it is clear


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One thing the engine asks for one resource."""

    urn: str
    scope: Scope
    """Ends with the resource's timeout, or when the engine cancels."""
    journal: Journal
    """Messages to the user, shown at the resource."""
    ignored: tuple[str, ...] = ()
    """What the program wants to be left as it is; `*` is all of it."""

    @property
    def name(self) -> str:
        """What the program calls the resource."""
        return self.urn.rsplit("::", 1)[-1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """A resource as the state has it; all empty but the id when it is to be imported."""

    identity: str
    inputs: Properties = field(default_factory=dict)
    state: Properties = field(default_factory=dict)
    """Inputs and outputs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Created:
    """A new resource: its id, and its outputs. An output may override an input of its name."""

    identity: str
    outputs: Properties


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A resource as it is in the world.

    `outputs` may hold inputs too. Of those the program gave, the state gets what was found; on an
    import it gets `imported`.
    """

    outputs: Properties
    imported: Properties = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """What a check knows besides the inputs."""

    urn: str
    old: Properties
    """The inputs of the last success; empty for a new resource."""
    seed: bytes
    """Random bytes for names: the same in the preview and in the update after it."""


class Resource(ABC, Generic[I]):
    """A resource type. `I` is what `parse` makes of its inputs.

    Nothing but `check`, `diff` and `planned` is asked in a preview. Where an operation cannot be
    done it raises OperationError, and PartlyDoneError where something was made.
    """

    shape: ClassVar[Shape]

    @abstractmethod
    def parse(self, inputs: Inputs) -> I:
        """The inputs as typed values; they have passed the check and are all known."""

    @abstractmethod
    async def create(self, inputs: I, operation: Operation) -> Created:
        """Make it."""

    @abstractmethod
    async def update(self, inputs: I, stored: Stored, operation: Operation) -> Properties:
        """Change it to the new inputs; returns the outputs."""

    @abstractmethod
    async def delete(self, stored: Stored, operation: Operation) -> None:
        """Remove it; that it is gone already is no error."""

    async def read(self, stored: Stored, operation: Operation) -> Found | None:
        """Look at it, for a refresh or an import; None where it is gone."""
        del operation
        return Found(outputs=stored.state)

    async def check(
        self, inputs: Properties, proposal: Proposal
    ) -> tuple[Properties, Sequence[Failure]]:
        """What is wrong with the inputs, and the inputs with what the table cannot fill in.

        Defaults and marks of secrecy are added by the caller.
        """
        del proposal
        return inputs, tuple(failures(problems(inputs, self.shape)))

    async def diff(self, new: Properties, stored: Stored, operation: Operation) -> Diff:
        """What the new inputs change; may look at the world, and may not change it."""
        del operation
        return Diff(differences=differences(stored.inputs, new, self.shape))

    async def planned(
        self, inputs: Properties, stored: Stored | None, operation: Operation
    ) -> Properties:
        """The outputs after a create (nothing is stored) or an update, as far as they are known."""
        del inputs, operation
        if stored is None:
            return {name: Unknown() for name in self.shape.outputs}
        return {name: stored.state[name] for name in self.shape.outputs if name in stored.state}

    def refreshed(self, stored: Stored, found: Found) -> tuple[Properties, Properties]:
        """The inputs and the state after a look at the world.

        An input that the program did not give stays absent: what the world says of it is a default.
        """
        if not stored.inputs and not stored.state:
            return found.imported, with_marks(found.imported, found.outputs)
        seen = {
            name: self.as_given(stored.inputs[name], value)
            for name, value in found.outputs.items()
            if name in stored.inputs and name in self.shape.fields
        }
        return with_marks(stored.inputs, seen), with_marks(stored.state, found.outputs)

    def as_given(self, given: Value, seen: Value) -> Value:
        """What was seen of an input, as the program would have put it."""
        del given
        return seen
