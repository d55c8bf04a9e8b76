"""A resource type: its schema, and what create, read, update and delete do."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Generic, TypeVar

from .check import Failure, failures, problems
from .diff import Diff, differences
from .values import Unknown, merge_keeping_secrets

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .cancellation import Cancellation
    from .diagnostics import Diagnostics
    from .inputs import Inputs
    from .schema import Schema
    from .values import Properties, Value

I = TypeVar("I")  # noqa: E741 as a type variable it is clear


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One call of the engine for one resource."""

    urn: str
    cancellation: Cancellation
    """At the resource's timeout, or when the engine cancels."""
    diagnostics: Diagnostics
    """Messages to the user about the resource."""
    ignore_changes: tuple[str, ...] = ()
    """The program's `ignore_changes`; `*` is all inputs."""

    @property
    def name(self) -> str:
        """The resource's logical name."""
        return self.urn.rsplit("::", 1)[-1]


@dataclass(frozen=True, slots=True, kw_only=True)
class PriorState:
    """A resource as recorded in the state; only the id is set for an import."""

    id: str
    inputs: Properties = field(default_factory=dict)
    state: Properties = field(default_factory=dict)
    """Inputs and outputs together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Created:
    """A new resource: its id and outputs. An output overrides an input of the same name."""

    id: str
    outputs: Properties


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadResult:
    """A resource as it really is.

    `outputs` may contain inputs, too: those that the program gave are updated from it. On an
    import, the inputs are `imported`.
    """

    outputs: Properties
    imported: Properties = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckContext:
    """What a check gets in addition to the inputs."""

    urn: str
    old_inputs: Properties
    """The inputs of the last successful update; empty for a new resource."""
    random_seed: bytes
    """For generated names: the same in the preview and in the update after it."""


class Resource(ABC, Generic[I]):
    """A resource type; `I` is the type of its parsed inputs.

    A preview calls `check`, `diff` and `preview` only. A failed operation raises OperationError,
    or PartialFailureError if it left something that the state must record.
    """

    schema: ClassVar[Schema]

    @abstractmethod
    def parse(self, inputs: Inputs) -> I:
        """Parse inputs, which have passed the check and are all known."""

    @abstractmethod
    async def create(self, inputs: I, operation: Operation) -> Created:
        """Create it."""

    @abstractmethod
    async def update(self, inputs: I, prior: PriorState, operation: Operation) -> Properties:
        """Update it to the new inputs; returns the outputs."""

    @abstractmethod
    async def delete(self, prior: PriorState, operation: Operation) -> None:
        """Delete it; not an error if it is already gone."""

    async def read(self, prior: PriorState, operation: Operation) -> ReadResult | None:
        """Read it, for a refresh or an import; None if it is gone."""
        del operation
        return ReadResult(outputs=prior.state)

    async def check(
        self, inputs: Properties, context: CheckContext
    ) -> tuple[Properties, Sequence[Failure]]:
        """Check the inputs; returns them, completed with what the schema cannot express.

        The caller adds the schema's defaults and marks secrets.
        """
        del context
        return inputs, tuple(failures(problems(inputs, self.schema)))

    async def diff(self, new: Properties, prior: PriorState, operation: Operation) -> Diff:
        """Compare with the new inputs; may read the resource, and must not change it."""
        del operation
        return Diff(differences=differences(prior.inputs, new, self.schema))

    async def preview(
        self, inputs: Properties, prior: PriorState | None, operation: Operation
    ) -> Properties:
        """The outputs of a create (`prior` is None) or an update, as far as they are known."""
        del inputs, operation
        if prior is None:
            return {name: Unknown() for name in self.schema.outputs}
        return {name: prior.state[name] for name in self.schema.outputs if name in prior.state}

    def merge_read(self, prior: PriorState, result: ReadResult) -> tuple[Properties, Properties]:
        """The inputs and the state after a read.

        An input that the program did not give stays absent: its observed value is a default.
        """
        if not prior.inputs and not prior.state:
            imported = result.imported
            return imported, merge_keeping_secrets(imported, result.outputs)
        observed = {
            name: self.as_written(prior.inputs[name], value)
            for name, value in result.outputs.items()
            if name in prior.inputs and name in self.schema.fields
        }
        inputs = merge_keeping_secrets(prior.inputs, observed)
        return inputs, merge_keeping_secrets(prior.state, result.outputs)

    def as_written(self, written: Value, observed: Value) -> Value:
        """The observed value of an input, in the form in which the program would write it."""
        del written
        return observed
