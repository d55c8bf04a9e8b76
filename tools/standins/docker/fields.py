"""Shorthands for the fields of the schemas."""

from __future__ import annotations

from providers.sdk.schema import Field, Kind, Schema


def immutable(kind: Kind = "string", *, required: bool = False, computed: bool = False) -> Field:
    """A property that cannot be changed in place."""
    return Field(kind=kind, required=required, computed=computed, replaces=True)


def string_set(*, computed: bool = False) -> Field:
    """A set of strings."""
    return Field(kind="list", unordered=True, replaces=True, computed=computed)


def object_set(
    token: str, fields: dict[str, Field], *, computed: bool = False, replaces: bool = True
) -> Field:
    """A set of objects."""
    return Field(
        kind="list",
        of=_schema(token, fields),
        unordered=True,
        replaces=replaces,
        computed=computed,
    )


def nested(
    token: str,
    fields: dict[str, Field],
    *,
    required: bool = False,
    computed: bool = False,
    replaces: bool = True,
) -> Field:
    """A single object."""
    schema = _schema(token, fields)
    return Field(kind="object", of=schema, required=required, computed=computed, replaces=replaces)


def _schema(token: str, fields: dict[str, Field]) -> Schema:
    return Schema(token=f"docker:index/{token}:{token}", fields=fields)


def labels(of: str, *, computed: bool = False, replaces: bool = True) -> Field:
    """The labels of an object of the type `of`."""
    pair = {"label": Field(required=True), "value": Field(required=True)}
    return object_set(f"{of}Label", pair, computed=computed, replaces=replaces)
