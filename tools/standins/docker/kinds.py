"""Properties as the tables are made of them."""

from __future__ import annotations

from providers.sdk.fields import Field, Kind, Shape


def fixed(kind: Kind = "string", *, required: bool = False, computed: bool = False) -> Field:
    """A property that cannot be changed: another value needs another container."""
    return Field(kind=kind, required=required, computed=computed, replaces=True)


def unordered(*, computed: bool = False) -> Field:
    """A set of texts."""
    return Field(kind="list", unordered=True, replaces=True, computed=computed)


def objects(
    token: str, fields: dict[str, Field], *, computed: bool = False, replaces: bool = True
) -> Field:
    """Objects whose order means nothing."""
    return Field(
        kind="list",
        of=_shape(token, fields),
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
    """One object."""
    shape = _shape(token, fields)
    return Field(kind="object", of=shape, required=required, computed=computed, replaces=replaces)


def _shape(token: str, fields: dict[str, Field]) -> Shape:
    return Shape(token=f"docker:index/{token}:{token}", fields=fields)


def labels(of: str, *, computed: bool = False, replaces: bool = True) -> Field:
    """Labels of the thing whose type is named."""
    pair = {"label": Field(required=True), "value": Field(required=True)}
    return objects(f"{of}Label", pair, computed=computed, replaces=replaces)
