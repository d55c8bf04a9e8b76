"""Property values as the engine sends them: JSON with secrets and unknowns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from google.protobuf import struct_pb2

if TYPE_CHECKING:
    from collections.abc import Mapping

_SIGNATURE: Final = "4dabf18193072939515e22adb298388d"
_SECRET: Final = "1b47061264138c4ac30d75fd1eb44270"  # noqa: S105 a type, no password
_OUTPUT: Final = "d0e6a833031e9bbcd3f4e8bde6ca49a4"
_UNKNOWN: Final = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
_UNKNOWNS: Final = frozenset(
    {
        _UNKNOWN,
        "1c4a061d-8072-4f0a-a4cb-0ff528b18fe7",
        "3eeb2bf0-c639-47a8-9e75-3b44932eb421",
        "6a19a0b0-7e62-4c92-b797-7f8e31da9cc2",
        "030794c1-ac77-496b-92df-f27374a8bd58",
        "e48ece36-62e2-4504-bad9-02848725956a",
        "dd056dcd-154b-4c76-9bd3-c8f88648b5ff",
    }
)
"""The sentinels of an unknown string, bool, number, array, asset, archive and object."""


@dataclass(frozen=True, slots=True, repr=False)
class Secret:
    """A value that the engine encrypts in the state; not shown by `repr`."""

    value: Value


@dataclass(frozen=True, slots=True)
class Unknown:
    """A value that is not known before another resource is created."""


Value: TypeAlias = "bool | float | str | list[Value] | dict[str, Value] | Secret | Unknown | None"
Properties: TypeAlias = "dict[str, Value]"


def decode(struct: struct_pb2.Struct) -> Properties:
    """The properties in a message; null ones are dropped, as the engine does."""
    read = {key: _decode(value) for key, value in struct.fields.items()}
    return {key: value for key, value in read.items() if value is not None}


def _decode(value: struct_pb2.Value) -> Value:
    kind = value.WhichOneof("kind")
    if kind == "struct_value":
        return _decode_struct(value.struct_value)
    if kind == "list_value":
        return [_decode(item) for item in value.list_value.values]
    if kind == "string_value":
        return Unknown() if value.string_value in _UNKNOWNS else value.string_value
    if kind == "number_value":
        return value.number_value
    if kind == "bool_value":
        return value.bool_value
    return None


def _decode_struct(struct: struct_pb2.Struct) -> Value:
    fields = struct.fields
    tag = fields[_SIGNATURE].string_value if _SIGNATURE in fields else ""
    if tag == _SECRET:
        return secret(_decode(fields["value"]))
    if tag == _OUTPUT:
        inner = _decode(fields["value"]) if "value" in fields else Unknown()
        hidden = "secret" in fields and fields["secret"].bool_value
        return secret(inner) if hidden else inner
    return {key: _decode(item) for key, item in fields.items()}


def encode(properties: Mapping[str, Value]) -> struct_pb2.Struct:
    """The message for properties; the inverse of `decode`."""
    return struct_pb2.Struct(fields={key: _encode(item) for key, item in properties.items()})


def _encode(value: Value) -> struct_pb2.Value:  # noqa: PLR0911 one per kind
    if isinstance(value, Secret):
        tagged = {_SIGNATURE: _encode(_SECRET), "value": _encode(value.value)}
        return struct_pb2.Value(struct_value=struct_pb2.Struct(fields=tagged))
    if isinstance(value, Unknown):
        return struct_pb2.Value(string_value=_UNKNOWN)
    if isinstance(value, dict):
        return struct_pb2.Value(struct_value=encode(value))
    if isinstance(value, list):
        items = [_encode(item) for item in value]
        return struct_pb2.Value(list_value=struct_pb2.ListValue(values=items))
    if isinstance(value, bool):
        return struct_pb2.Value(bool_value=value)
    if isinstance(value, float):
        return struct_pb2.Value(number_value=value)
    if isinstance(value, str):
        return struct_pb2.Value(string_value=value)
    return struct_pb2.Value(null_value=struct_pb2.NULL_VALUE)


def secret(value: Value) -> Secret:
    """The value as a secret; a secret is returned unchanged."""
    return value if isinstance(value, Secret) else Secret(value)


def reveal(value: Value) -> Value:
    """The value with each secret in it replaced by its plain value."""
    if isinstance(value, Secret):
        return reveal(value.value)
    if isinstance(value, list):
        return [reveal(item) for item in value]
    if isinstance(value, dict):
        return {key: reveal(item) for key, item in value.items()}
    return value


def equal(one: Value, other: Value) -> bool:
    """Whether two values are equal; a secret never equals a plain value, absent equals null."""
    if isinstance(one, dict) and isinstance(other, dict):
        keys = one.keys() | other.keys()
        return all(equal(one.get(key), other.get(key)) for key in keys)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(equal, one, other))
    if isinstance(one, Secret) and isinstance(other, Secret):
        return equal(one.value, other.value)
    # In Python, True == 1.0; not for the engine.
    return type(one) is type(other) and one == other


def unwrap(value: Value) -> Value:
    """The plain value of a secret; secrets inside it stay secrets."""
    return unwrap(value.value) if isinstance(value, Secret) else value


def contains_secret(value: Value) -> bool:
    """Whether the value is a secret or contains one."""
    if isinstance(value, list):
        return any(map(contains_secret, value))
    if isinstance(value, dict):
        return any(map(contains_secret, value.values()))
    return isinstance(value, Secret)


def contains_unknown(value: Value) -> bool:
    """Whether the value is unknown or contains an unknown."""
    if isinstance(value, list):
        return any(map(contains_unknown, value))
    if isinstance(value, dict):
        return any(map(contains_unknown, value.values()))
    return (
        contains_unknown(value.value) if isinstance(value, Secret) else isinstance(value, Unknown)
    )


def merge_keeping_secrets(old: Properties, new: Mapping[str, Value]) -> Properties:
    """`old` updated from `new`; a property that contains a secret in `old` stays secret."""
    merged = dict(old)
    for name, value in new.items():
        before = old.get(name)
        if equal(without_internal_keys(reveal(before)), without_internal_keys(reveal(value))):
            merged[name] = value if before is None else before
        else:
            merged[name] = secret(value) if contains_secret(before) else value
    return merged


def without_internal_keys(value: Value) -> Value:
    """The value without the keys that begin with `__`: a check's notes for the next one."""
    if isinstance(value, Secret):
        return Secret(without_internal_keys(value.value))
    if isinstance(value, list):
        return [without_internal_keys(item) for item in value]
    if isinstance(value, dict):
        return {k: without_internal_keys(v) for k, v in value.items() if not k.startswith("__")}
    return value
