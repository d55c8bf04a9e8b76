"""What YAML makes of a text without quotes, as the engine passes it on, and what is said of it."""

from typing import Any

import pytest

from components.pipeline.config.misread import Plain, misreadings
from components.pipeline.config.stack import parse
from components.pipeline.errors import ConfigError, Problem

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAII37QsfaC6TZC04ULDxkqO8IB9/KJvwLWbiP2ORl634Q"

OR = ", or {} if that is meant"
# What is written, what `pulumi config --json` (3.259) makes of it, and what the remedy adds.
MISREAD = (
    ("2.10", "2.1", OR),
    ("1e5", "100000", OR),
    ("010", "8", OR),
    ("08", "8", OR),
    ("00", "0", OR),
    ("0123456789", "123456789", OR),
    ("0x10", "16", OR),
    ("0b11", "3", OR),
    ("0o10", "8", OR),
    ("1_000", "1000", OR),
    ("1__0.5", "10.5", OR),
    ("+5", "5", OR),
    ("-0", "0", OR),
    (".5", "0.5", OR),
    ("5.", "5", OR),
    ("1.0", "1", OR),
    ("7654321e2", "765432100", OR),
    ("123456789012345678901234567890", "1.2345678901234568e+29", OR),
    ("null", "", ""),
    ("~", "", ""),
    ("True", "true", ""),
    ("FALSE", "false", ""),
    ("2024-01-01", "2024-01-01 00:00:00 +0000 UTC", ""),
    ("2024-1-2 3:4:5.5", "2024-01-02 03:04:05.5 +0000 UTC", ""),
    ("2024-01-01T10:00:00+02:00", "2024-01-01 10:00:00 +0200 +0200", ""),
)
KEPT = ("v2.1.0", "22", "2.1", "yes", "no", "on", "off", "12:30", "1e400", "7654321e12345", "0x1p4")


def problems(value: object, written: object, *hidden: str) -> list[Problem]:
    return list(misreadings({"key": value}, {"key": written}, hidden=frozenset(hidden)))


@pytest.mark.parametrize(("written", "read", "or_number"), MISREAD)
def test_a_text_that_yaml_changes_is_named_with_its_quoted_form(
    written: str, read: str, or_number: str
) -> None:
    remedy = f'write "{written}"' + or_number.format(read)
    why = f"is read by YAML as {read or 'no value'}"
    assert problems(read, Plain(written)) == [
        Problem(path="key", value=written, why=why, remedy=remedy)
    ]
    # In quotes it is what is written, and a file that the engine has not read says nothing.
    assert not problems(written, written)
    assert not problems(read, read)
    assert not problems("another", Plain(written))


@pytest.mark.parametrize("text", KEPT)
def test_a_text_that_yaml_keeps_is_none(text: str) -> None:
    assert not problems(text, Plain(text))


@pytest.mark.parametrize(
    ("written", "value", "paths"),
    [
        ({"port": Plain("22")}, {"port": 22}, []),
        ({"port": Plain("0x16")}, {"port": 22}, ["key.port"]),
        ({"on": Plain("True")}, {"on": True}, []),
        ({"user": Plain("null")}, {"user": None}, []),  # its own message says so
        ([Plain("1"), Plain("010"), "010"], [1, 8, "010"], ["key[1]"]),
        ({"a": [{"b": Plain("1_0")}]}, {"a": [{"b": 10}]}, ["key.a[0].b"]),
        ({Plain("01"): {"a": Plain("2.10")}}, {"1": {"a": 2.1}}, ["key.01", "key.01.a"]),
        ({Plain("1e3"): "x", "web": "y"}, {"1000": "x", "web": "y"}, ["key.1e3"]),
        ({Plain("1.10"): "x"}, {"1.1": "x"}, ['key["1.10"]']),
        ({Plain("null"): "x"}, {"<nil>": "x"}, ["key.null"]),
        ({Plain("True"): "x"}, {"true": "x"}, ["key.True"]),
        ({Plain("2024-01-01"): "x"}, {"2024-01-01 00:00:00 +0000 UTC": "x"}, ["key.2024-01-01"]),
        ({Plain("22"): "x", "01": "y"}, {"22": "x", "01": "y"}, []),
        ({"secure": "v1:abc"}, "hunter2", []),
        ({"A": {"secure": "v1:abc"}}, {"A": "010"}, []),
    ],
)
def test_maps_lists_and_names_in_them(written: object, value: object, paths: list[str]) -> None:
    assert [problem.path for problem in problems(value, written)] == paths


def test_what_is_in_a_secret_key_is_not_shown() -> None:
    written = {"PIN": Plain("0123"), "TOKEN": {"secure": "v1:abc"}}
    (problem,) = problems({"PIN": 83, "TOKEN": "hunter2"}, written, "key")
    assert problem.line("flakeup") == (
        "config flakeup:key.PIN: [secret]: is read by YAML as another text. write it in quotes"
    )


def test_they_stand_among_all_other_problems_and_for_those_of_the_same_value() -> None:
    host = {"address": "10.0.0.5", "hostKey": KEY}
    raw: dict[str, Any] = {"appRef": "8", "hosts": {"1": {**host, "appRef": 2.1}}, "rollot": {}}
    written = {"appRef": Plain("010"), "hosts": {Plain("01"): {**host, "appRef": Plain("2.10")}}}
    with pytest.raises(ConfigError) as caught:
        parse(raw, written=written)
    assert str(caught.value).splitlines() == [
        "5 problems in the config",
        ('config flakeup:appRef: 010: is read by YAML as 8. write "010", or 8 if that is meant'),
        'config flakeup:hosts.01: 01: is a name that YAML reads as "1". write "01"',
        (
            "config flakeup:hosts.01.appRef: 2.10: is read by YAML as 2.1. "
            'write "2.10", or 2.1 if that is meant'
        ),
        (
            "config flakeup:hosts.1.appRef: 2.1: is a number, not text: put it in quotes if it is "
            "meant. write a tag, a branch, refs/... or a full commit id, such as v2.1.0"
        ),
        "config flakeup:rollot: {…}: is not a key that flakeup knows. write rollout",
    ]
