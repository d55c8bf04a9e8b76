"""Messages: their form, and no terminal control characters in them."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.pipeline.errors import (
    ConfigError,
    FlakeupError,
    Problem,
    ProcessError,
    message,
    printable,
)


@pytest.mark.parametrize(
    ("parts", "text"),
    [
        (
            ("copy failed", "web1", "no space", "free 2 GB"),
            "copy failed: web1: no space. free 2 GB",
        ),
        (("copy failed", "web1", "no space.", ""), "copy failed: web1: no space"),
        (("copy failed", "", "no space\n", "free"), "copy failed: no space. free"),
    ],
)
def test_the_form_of_a_message(parts: tuple[str, str, str, str], text: str) -> None:
    assert message(*parts) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain text", "plain text"),
        ("grün 🚀", "grün 🚀"),
        ("\x1b[31mred", r"\x1b[31mred"),
        ("a\nb\tc", r"a\nb\tc"),
        ("\x7f\x9b", r"\x7f\x9b"),
        ("abc\u202edef\u2066", r"abc\u202edef\u2066"),
        ("zero\u200bwidth", r"zero\u200bwidth"),
        ("line\u2028", r"line\u2028"),
        ("\ud800", r"\ud800"),
        ("x" * 60, "x" * 60),
        ("x" * 61, "x" * 59 + "…"),
        ("x" * 58 + "\x1b", "x" * 58 + "…"),
    ],
)
def test_printable(text: str, shown: str) -> None:
    assert printable(text) == shown


@given(text=st.text(), limit=st.integers(10, 100))
def test_no_terminal_control_is_printed(text: str, limit: int) -> None:
    shown = printable(text, limit)
    assert shown.isprintable()
    assert len(shown) <= limit
    assert not any(unicodedata.category(char)[0] == "C" for char in shown)


@given(text=st.text(), limit=st.integers(10, 100))
def test_lines_keep_their_breaks_and_their_end(text: str, limit: int) -> None:
    shown = printable(text, limit, lines=True)
    assert shown.replace("\n", "").isprintable()
    assert len(shown) <= limit
    assert shown.startswith("…") or shown.split("\n") == [
        printable(line, 10_000) for line in text.split("\n")
    ]


def test_with_lines_the_end_of_a_long_text_is_kept() -> None:
    assert printable("first\nsecond\nerror: last", 12, lines=True) == "…error: last"


@pytest.mark.parametrize(
    ("code", "detail", "text"),
    [
        (1, "boom", "nix failed: nix build '.#a b': exit status 1: boom"),
        (-9, "", "nix failed: nix build '.#a b': ended by signal 9"),
        (None, "timed out after 5 s", "nix failed: nix build '.#a b': timed out after 5 s"),
    ],
)
def test_process_error(code: int | None, detail: str, text: str) -> None:
    error = ProcessError(argv=("nix", "build", ".#a b"), code=code, detail=detail)
    assert str(error) == text


def test_a_failed_process_shows_the_last_lines_and_keeps_all() -> None:
    detail = "\n".join(f"line {number}" for number in range(100))
    error = ProcessError(argv=("nix",), code=1, detail=detail)
    assert error.tail.splitlines() == [f"line {number}" for number in range(80, 100)]
    assert error.detail == detail
    assert str(error) == f"nix failed: nix: exit status 1: {error.tail}"


def test_one_problem_is_singular() -> None:
    problem = Problem(path="appRef", value='""', why="is empty", remedy="write a tag")
    error = ConfigError([problem], project="acme")
    assert isinstance(error, FlakeupError)
    assert str(error) == ('1 problem in the config\nconfig acme:appRef: "": is empty. write a tag')
