"""Resource types as the bridge from Terraform's providers answers for them.

A released plugin that is such a bridge compares the new inputs with the whole state, takes the
world's values where the program gives none, makes up names, and notes which inputs are defaults.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, ClassVar, Final

from providers.sdk.check import without_nulls
from providers.sdk.diff import Diff, content, differences
from providers.sdk.inputs import Inputs
from providers.sdk.resource import Found, Resource
from providers.sdk.values import Secret, Unknown, reveal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from providers.sdk.check import Failure
    from providers.sdk.fields import Field, Shape
    from providers.sdk.resource import Operation, Proposal, Stored
    from providers.sdk.values import Properties, Value

DEFAULTS: Final = "__defaults"
"""Where the bridge notes the names of inputs that the program did not give."""
_META: Final = "__meta"
_RANDOM: Final = 7
"""Hex digits at the end of a name that was made up."""


class Bridged(Resource[Inputs]):
    """A resource type with an input `name`, which is made up where the program gives none."""

    deletes_first: ClassVar[bool] = False
    """Whether the old one goes before its replacement comes, also where names do not clash."""
    version: ClassVar[int] = 0
    """The version of its schema, which the release wants to find in the state."""

    def parse(self, inputs: Inputs) -> Inputs:
        """As they are."""
        return inputs

    async def check(
        self, inputs: Properties, proposal: Proposal
    ) -> tuple[Properties, Sequence[Failure]]:
        """Types, then defaults, each noted as one."""
        _, failures = await super().check(inputs, proposal)
        if failures:
            return inputs, failures
        made_up: Properties = {} if "name" in inputs else {"name": _name(proposal)}
        return _completed(inputs, self.shape, made_up), ()

    async def diff(self, new: Properties, stored: Stored, operation: Operation) -> Diff:
        """What differs from the state; no input, nothing of the world, is a change by itself."""
        del operation
        old, wanted = _settled(_revealed(stored.state), _revealed(new), self.shape)
        found = differences(old, wanted, self.shape)
        defaults = new.get(DEFAULTS)
        clash = isinstance(defaults, list) and "name" in new and "name" not in defaults
        return Diff(
            differences=found,
            delete_before_replace=any(each.replaces for each in found)
            and (self.deletes_first or clash),
        )

    async def planned(
        self, inputs: Properties, stored: Stored | None, operation: Operation
    ) -> Properties:
        """What only the world knows is unknown before a create, and stays in an update."""
        del operation
        if stored is not None:
            return self.kept(Inputs(inputs), stored)
        return {name: Unknown() for name in self._from_world() if inputs.get(name) is None}

    def kept(self, inputs: Inputs, stored: Stored) -> Properties:
        """What an update leaves as it is: the world is not looked at after it."""
        names = (name for name in self._from_world() if not inputs.has(name))
        kept = {name: stored.state[name] for name in names if name in stored.state}
        return self.outputs(kept)

    def as_given(self, given: Value, seen: Value) -> Value:
        """As far as the program gave it: what the world adds to it is left out."""
        given = reveal(given)
        if isinstance(given, dict) and isinstance(seen, dict):
            notes = {name: value for name, value in given.items() if name == DEFAULTS}
            told = {n: self.as_given(v, seen[n]) for n, v in given.items() if n in seen}
            return {**told, **notes}
        if isinstance(given, list) and isinstance(seen, list):
            return [self.as_given(*pair) for pair in zip(given, seen, strict=False)]
        return seen

    def _from_world(self) -> tuple[str, ...]:
        computed = (name for name, field in self.shape.fields.items() if field.computed)
        return (*self.shape.outputs, *computed)

    def outputs(self, seen: Properties) -> Properties:
        """What was seen, as it goes into the state."""
        meta = json.dumps({"schema_version": str(self.version)})
        return {**without_nulls(seen), _META: meta}

    def found(self, seen: Properties) -> Found:
        """What was seen, for a refresh, and for an import without what is a default anyway."""
        imported: Properties = {
            name: seen[name]
            for name, field in self.shape.fields.items()
            if not _says_nothing(seen.get(name)) and seen[name] != field.default
        }
        return Found(outputs=self.outputs(seen), imported={**imported, DEFAULTS: []})


def _name(proposal: Proposal) -> str:
    """The name of before, else one from that of the resource, the same in preview and update."""
    before, defaults = proposal.old.get("name"), proposal.old.get(DEFAULTS)
    if isinstance(before, str) and (not isinstance(defaults, list) or "name" in defaults):
        return before
    name = proposal.urn.rsplit("::", 1)[-1]
    return f"{name}-{hashlib.sha256(proposal.seed).hexdigest()[:_RANDOM]}"


def _completed(given: Properties, shape: Shape, made_up: Properties) -> Properties:
    """The inputs with defaults, and in each object the names of those."""
    defaults = {name: field.default for name, field in shape.fields.items()} | made_up
    added = {
        name: value
        for name, value in defaults.items()
        if value is not None and given.get(name) is None
    }
    filled: Properties = {**without_nulls(given), **added}
    for name, field in shape.fields.items():
        if name in filled and field.of is not None:
            filled[name] = _completed_within(filled[name], field.of)
    return {**filled, DEFAULTS: [*sorted(added)]}


def _completed_within(value: Value, shape: Shape) -> Value:
    if isinstance(value, Secret):
        return Secret(_completed_within(value.value, shape))
    if isinstance(value, list):
        return [_completed_within(item, shape) for item in value]
    return _completed(value, shape, {}) if isinstance(value, dict) else value


def _revealed(properties: Properties) -> Properties:
    return {name: reveal(value) for name, value in properties.items()}


def _settled(old: Properties, new: Properties, shape: Shape) -> tuple[Properties, Properties]:
    """Both without what is no change: absent and empty are the same, the world fills in."""
    before: Properties = {}
    after: Properties = {}
    for name, field in shape.fields.items():
        was, wanted = old.get(name), new.get(name)
        unsaid = wanted is None and field.computed
        if unsaid or (_says_nothing(was) and _says_nothing(wanted)):
            continue
        before[name], after[name] = _settled_value(was, wanted, field)
    return without_nulls(before), without_nulls(after)


def _settled_value(was: Value, wanted: Value, field: Field) -> tuple[Value, Value]:
    if field.of is None:
        return was, wanted
    if isinstance(was, dict) and isinstance(wanted, dict):
        return _settled(was, wanted, field.of)
    if not isinstance(was, list) or not isinstance(wanted, list):
        return was, wanted
    was, wanted = (_in_order(items, field, field.of) for items in (was, wanted))
    pairs = [_settled_value(*pair, field) for pair in zip(was, wanted, strict=False)]
    shared = len(pairs)
    before: list[Value] = [pair[0] for pair in pairs]
    after: list[Value] = [pair[1] for pair in pairs]
    return before + was[shared:], after + wanted[shared:]


def _in_order(items: list[Value], field: Field, shape: Shape) -> list[Value]:
    """Objects whose order means nothing, by what the program says of them."""
    if not field.unordered:
        return items
    said = {name for name, inner in shape.fields.items() if not inner.computed}
    return sorted(items, key=lambda item: content(_only(item, said)))


def _only(item: Value, names: set[str]) -> Value:
    if not isinstance(item, dict):
        return item
    return {n: v for n, v in item.items() if n in names and not _says_nothing(v)}


def _says_nothing(value: Value) -> bool:
    """Whether a value is what the bridge takes for an absent one."""
    if isinstance(value, dict):
        return not value.keys() - {DEFAULTS}
    return value is None or value in (False, 0.0, "", [])
