"""Declarations of keys: what follows from a field, and that all of ours are whole."""

from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Annotated, Any

import pytest

from components.pipeline.config.activation import ACTIVATION
from components.pipeline.config.checks import CHECK
from components.pipeline.config.docker import DOCKER
from components.pipeline.config.hosts import HOST
from components.pipeline.config.incus import INCUS, INCUS_HOST
from components.pipeline.config.incus_volumes import VOLUME
from components.pipeline.config.jumps import JUMP
from components.pipeline.config.registry import REGISTRY
from components.pipeline.config.rollout import ROLLOUT
from components.pipeline.config.schema import Key, Table
from components.pipeline.config.services import SERVICE
from components.pipeline.config.stack import STACK
from components.pipeline.values import Attr, Duration, InvalidValue

TABLES = (
    ACTIVATION,
    CHECK,
    DOCKER,
    HOST,
    INCUS,
    INCUS_HOST,
    JUMP,
    REGISTRY,
    ROLLOUT,
    SERVICE,
    STACK,
    VOLUME,
)
KEYS = [
    pytest.param(table, key, id=f"{table.of and table.of.__name__}.{key.name}")
    for table in TABLES
    for key in table.keys
]


class Colour(StrEnum):
    RED = "red"
    DARK_BLUE = "dark-blue"
    GREEN = "green"


@dataclass(frozen=True, slots=True, kw_only=True)
class Lamp:
    not_a_key: int = 0
    system: Annotated[Attr, Key("Required: nothing stands for it.")]
    boot_timeout: Annotated[Duration, Key("A time.", most="1h", limits="even")] = Duration("2m")
    grace: Annotated[Duration | None, Key("A time.", most="5m", zero=True, example="3s")] = None
    read_only: Annotated[bool, Key("A flag.")] = False
    colour: Annotated[Colour, Key("A choice.", name="color")] = Colour.DARK_BLUE
    retries: Annotated[int, Key("A number.", within=(0, 5))] = 3


LAMP = Table(Lamp)


def test_names_types_and_defaults_follow_from_the_fields() -> None:
    found = [(key.name, key.field, key.default, key.required) for key in LAMP.keys]
    assert found == [
        ("system", "system", "", True),
        ("bootTimeout", "boot_timeout", "2m", False),
        ("grace", "grace", "", False),
        ("readOnly", "read_only", "false", False),
        ("color", "colour", "dark-blue", False),
        ("retries", "retries", "3", False),
    ]
    assert LAMP["grace"].value_type is Duration
    assert "not_a_key" not in LAMP


@pytest.mark.parametrize(
    ("name", "takes", "write", "limits"),
    [
        ("bootTimeout", "a time", "at most 1h, such as 2m", "1s to 1h; even"),
        ("grace", "a time", "at most 5m, such as 3s", "0s to 5m"),
        ("readOnly", "true or false", "write true or false", "`true` or `false`"),
        (
            "color",
            "red, dark-blue or green",
            "write red, dark-blue or green",
            "`red`, `dark-blue` or `green`",
        ),
        ("retries", "", "", "0 to 5"),
    ],
)
def test_texts_follow_from_the_type(name: str, takes: str, write: str, limits: str) -> None:
    key = LAMP[name]
    assert (key.takes, key.limits) == (takes, limits)
    assert key.write.endswith(write)


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("bootTimeout", "2h", "is more than 1h"),
        ("bootTimeout", "0s", "must be longer than 0s"),
        ("readOnly", "yes", "is neither true nor false"),
        ("color", "blue", "is not one of: red, dark-blue, green"),
        ("retries", "6", "is not in 0 to 5"),
        ("retries", "1.5", "is not a whole number"),
    ],
)
def test_parsers_follow_from_the_type(name: str, text: str, why: str) -> None:
    parse = LAMP[name].parse
    assert parse
    with pytest.raises(InvalidValue) as caught:
        parse(text)
    assert caught.value.why == why


@pytest.mark.parametrize(("table", "key"), KEYS)
def test_every_key_says_what_it_takes_and_means(table: Table, key: Key) -> None:
    assert all((key.meaning, key.takes, key.write, key.limits)), table.about


@pytest.mark.parametrize(("table", "key"), KEYS)
def test_a_documented_default_is_the_default(table: Table, key: Key) -> None:
    assert table.of
    defaults: dict[str, Any] = {field.name: field.default for field in fields(table.of)}
    if key.default and key.parse:
        assert key.parse(key.default) == defaults[key.field]
