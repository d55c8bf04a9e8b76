"""Resource types that behave like those of a bridged Terraform provider (pulumi-terraform-bridge).

Such a provider compares the new inputs with the whole state, takes the real values of inputs that
the program does not give, generates names, and notes which inputs are defaults.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, ClassVar, Final

from providers.sdk.check import without_nulls
from providers.sdk.diff import Diff, differences, sort_key
from providers.sdk.inputs import Inputs
from providers.sdk.resource import ReadResult, Resource
from providers.sdk.values import Secret, Unknown, reveal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from providers.sdk.check import Failure
    from providers.sdk.resource import CheckContext, Operation, PriorState
    from providers.sdk.schema import Field, Schema
    from providers.sdk.values import Properties, Value

DEFAULTS: Final = "__defaults"
"""The key of the bridge's list of inputs that are defaults."""
_META: Final = "__meta"
_SUFFIX_LENGTH: Final = 7
"""Hex digits at the end of a generated name."""


class BridgedResource(Resource[Inputs]):
    """A resource type with an input `name`, which is generated if the program gives none."""

    deletes_first: ClassVar[bool] = False
    """Whether a replacement always deletes first, not only when the names would clash."""
    version: ClassVar[int] = 0
    """The schema version that the released provider expects in the state."""

    def parse(self, inputs: Inputs) -> Inputs:
        """Return the inputs unchanged."""
        return inputs

    async def check(
        self, inputs: Properties, context: CheckContext
    ) -> tuple[Properties, Sequence[Failure]]:
        """Check types and add defaults, each noted as one."""
        _, failures = await super().check(inputs, context)
        if failures:
            return inputs, failures
        generated: Properties = {} if "name" in inputs else {"name": _name(context)}
        return _with_defaults(inputs, self.schema, generated), ()

    async def diff(self, new: Properties, prior: PriorState, operation: Operation) -> Diff:
        """Compare the new inputs with the state; neither side alone makes a difference."""
        del operation
        old, wanted = _comparable(_revealed(prior.state), _revealed(new), self.schema)
        found = differences(old, wanted, self.schema)
        defaults = new.get(DEFAULTS)
        clash = isinstance(defaults, list) and "name" in new and "name" not in defaults
        return Diff(
            differences=found,
            delete_before_replace=any(each.replaces for each in found)
            and (self.deletes_first or clash),
        )

    async def preview(
        self, inputs: Properties, prior: PriorState | None, operation: Operation
    ) -> Properties:
        """Computed properties are unknown before a create, and unchanged by an update."""
        del operation
        if prior is not None:
            return self.unchanged_outputs(Inputs(inputs), prior)
        return {name: Unknown() for name in self._computed() if inputs.get(name) is None}

    def unchanged_outputs(self, inputs: Inputs, prior: PriorState) -> Properties:
        """The outputs of an update: the resource is not read after it."""
        names = (name for name in self._computed() if not inputs.has(name))
        kept = {name: prior.state[name] for name in names if name in prior.state}
        return self.outputs(kept)

    def as_written(self, written: Value, observed: Value) -> Value:
        """The observed value, without anything that the program did not give."""
        written = reveal(written)
        if isinstance(written, dict) and isinstance(observed, dict):
            values = {
                name: self.as_written(value, observed[name])
                for name, value in written.items()
                if name in observed
            }
            notes = {name: value for name, value in written.items() if name == DEFAULTS}
            return {**values, **notes}
        if isinstance(written, list) and isinstance(observed, list):
            return [self.as_written(*pair) for pair in zip(written, observed, strict=False)]
        return observed

    def _computed(self) -> tuple[str, ...]:
        computed = (name for name, field in self.schema.fields.items() if field.computed)
        return (*self.schema.outputs, *computed)

    def outputs(self, observed: Properties) -> Properties:
        """The observed properties as the state records them."""
        meta = json.dumps({"schema_version": str(self.version)})
        return {**without_nulls(observed), _META: meta}

    def read_result(self, observed: Properties) -> ReadResult:
        """The result of a read; an import takes no defaults as inputs."""
        imported: Properties = {
            name: observed[name]
            for name, field in self.schema.fields.items()
            if not _is_empty(observed.get(name)) and observed[name] != field.default
        }
        return ReadResult(outputs=self.outputs(observed), imported={**imported, DEFAULTS: []})


def _name(context: CheckContext) -> str:
    """The name so far, else one generated from that of the resource and the random seed."""
    old_name, defaults = context.old_inputs.get("name"), context.old_inputs.get(DEFAULTS)
    if isinstance(old_name, str) and (not isinstance(defaults, list) or "name" in defaults):
        return old_name
    name = context.urn.rsplit("::", 1)[-1]
    return f"{name}-{hashlib.sha256(context.random_seed).hexdigest()[:_SUFFIX_LENGTH]}"


def _with_defaults(inputs: Properties, schema: Schema, generated: Properties) -> Properties:
    """The inputs with defaults, and in each object the names of those."""
    defaults = {name: field.default for name, field in schema.fields.items()} | generated
    added = {
        name: value
        for name, value in defaults.items()
        if value is not None and inputs.get(name) is None
    }
    completed: Properties = {**without_nulls(inputs), **added}
    for name, field in schema.fields.items():
        if name in completed and field.of is not None:
            completed[name] = _with_nested_defaults(completed[name], field.of)
    return {**completed, DEFAULTS: [*sorted(added)]}


def _with_nested_defaults(value: Value, schema: Schema) -> Value:
    if isinstance(value, Secret):
        return Secret(_with_nested_defaults(value.value, schema))
    if isinstance(value, list):
        return [_with_nested_defaults(item, schema) for item in value]
    return _with_defaults(value, schema, {}) if isinstance(value, dict) else value


def _revealed(properties: Properties) -> Properties:
    return {name: reveal(value) for name, value in properties.items()}


def _comparable(old: Properties, new: Properties, schema: Schema) -> tuple[Properties, Properties]:
    """Both without what is no change: absent equals empty, and computed values may be absent."""
    old_rest: Properties = {}
    new_rest: Properties = {}
    for name, field in schema.fields.items():
        before, after = old.get(name), new.get(name)
        is_computed = after is None and field.computed
        if is_computed or (_is_empty(before) and _is_empty(after)):
            continue
        old_rest[name], new_rest[name] = _comparable_values(before, after, field)
    return without_nulls(old_rest), without_nulls(new_rest)


def _comparable_values(old: Value, new: Value, field: Field) -> tuple[Value, Value]:
    if field.of is None:
        return old, new
    if isinstance(old, dict) and isinstance(new, dict):
        return _comparable(old, new, field.of)
    if not isinstance(old, list) or not isinstance(new, list):
        return old, new
    old, new = (_in_order(items, field, field.of) for items in (old, new))
    pairs = [_comparable_values(*pair, field) for pair in zip(old, new, strict=False)]
    common = len(pairs)
    before: list[Value] = [pair[0] for pair in pairs]
    after: list[Value] = [pair[1] for pair in pairs]
    return before + old[common:], after + new[common:]


def _in_order(items: list[Value], field: Field, schema: Schema) -> list[Value]:
    """A set of objects, sorted by the properties that are not computed."""
    if not field.unordered:
        return items
    names = {name for name, inner in schema.fields.items() if not inner.computed}
    return sorted(items, key=lambda item: sort_key(_only(item, names)))


def _only(item: Value, names: set[str]) -> Value:
    if not isinstance(item, dict):
        return item
    return {n: v for n, v in item.items() if n in names and not _is_empty(v)}


def _is_empty(value: Value) -> bool:
    """Whether the bridge treats the value as absent."""
    if isinstance(value, dict):
        return not value.keys() - {DEFAULTS}
    return value is None or value in (False, 0.0, "", [])
