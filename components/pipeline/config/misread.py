"""Values that YAML makes of something else than what was written: 2.10 is 2.1, and 010 is 8.

The engine reads a stack's file by the rules of Go's yaml.v3, and passes on what they make of a text
without quotes, so a ref, a name or a word of a command may reach the program as another one. What
it has passed on counts; what the files have, with each scalar as text, tells what was meant.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Final

from ..errors import Problem, printable
from .section import SECRET, path_to

_NULLS: Final = frozenset({"~", "null", "Null", "NULL"})
_NULL_TEXTS: Final = frozenset({"", "<nil>"})
"""What the engine makes of null: of the value of a key of the stack, and of a name in a map."""
_BASED: Final = re.compile(r"([-+]?)0([xXoObB]?)([0-9a-fA-F]+)")
_BASES: Final = {"": 8, "o": 8, "x": 16, "b": 2}
_DECIMAL: Final = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_MAX_DIGITS: Final = 300
_DATE: Final = re.compile(
    r"([0-9]{4})-([0-9]{1,2})-([0-9]{1,2})(?:[Tt ]([0-9]{1,2}):([0-9]{1,2}):[0-9.]+(?:Z|[-+].*)?)?"
)
_TIME: Final = re.compile(r"([0-9-]{10} [0-9]{2}:[0-9]{2}):[0-9.]+ [-+][0-9]{4} \S+")


class Plain(str):
    """A scalar of a file as it is written, without quotes."""

    __slots__ = ()


def misreadings(
    values: Mapping[str, object], written: Mapping[str, object], *, hidden: frozenset[str]
) -> Iterator[Problem]:
    """Compare what the engine passes on with what is written; both by key of the stack.

    Where the files have something else altogether, the engine has read others: nothing is said.
    Nor is anything said of secrets, which are encrypted there. What is in `hidden` keys is in no
    message.
    """
    for key, value in values.items():
        if key in written:
            yield from _compare(key, written[key], value, is_hidden=key in hidden)


def _compare(path: str, written: object, value: object, *, is_hidden: bool) -> Iterator[Problem]:
    match written, value:
        case Plain(), str() | bool() | int() | float():
            if _is_misread(written, value):
                yield _problem(path, written, value, is_hidden=is_hidden)
        case Mapping(), Mapping():
            yield from _compare_maps(path, written, value, is_hidden=is_hidden)
        case list(), list():
            for index, (one, other) in enumerate(zip(written, value, strict=False)):
                yield from _compare(f"{path}[{index}]", one, other, is_hidden=is_hidden)


def _compare_maps(
    path: str, written: Mapping[str, object], value: Mapping[str, object], *, is_hidden: bool
) -> Iterator[Problem]:
    for key, one in written.items():
        place = path_to(path, key)
        name = key
        if key not in value:
            read = (other for other in value if isinstance(key, Plain) and _reads_as(key, other))
            if (name := next(read, "")) not in value:
                continue
            why = f'is a name that YAML reads as "{printable(name)}"'
            yield Problem(path=place, value=printable(key), why=why, remedy=f"write {_quoted(key)}")
        yield from _compare(place, one, value[name], is_hidden=is_hidden)


def _problem(path: str, written: str, value: object, *, is_hidden: bool) -> Problem:
    if is_hidden:
        remedy = "write it in quotes"
        return Problem(
            path=path, value=SECRET, why="is read by YAML as another text", remedy=remedy
        )
    read = _text(value)
    remedy = f"write {_quoted(written)}"
    if _number(written) is not None:
        remedy += f", or {printable(read)} if that is meant"
    why = f"is read by YAML as {printable(read) or 'no value'}"
    return Problem(path=path, value=printable(written), why=why, remedy=remedy)


def _quoted(text: str) -> str:
    return f'"{printable(text)}"'


def _text(value: object) -> str:
    """Write a value as the engine does."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _is_misread(written: str, value: str | float) -> bool:
    """Whether a value is what YAML makes of another text; for a flag, `True` is `true`."""
    if isinstance(value, bool):
        return False
    return written != _text(value) and _reads_as(written, _text(value))


def _reads_as(written: str, text: str) -> bool:
    """Whether the engine may pass `written` on as `text`, once YAML has made a value of it."""
    if (number := _number(written)) is not None:
        return number == _number(text)
    if written in _NULLS:
        return text in _NULL_TEXTS
    if written in {"True", "TRUE", "False", "FALSE"}:
        return text == written.lower()
    date, time = _DATE.fullmatch(written), _TIME.fullmatch(text)
    if date is None or time is None:
        return False
    year, month, day, hour, minute = (part.zfill(2) for part in date.groups(default="0"))
    return time[1] == f"{year}-{month}-{day} {hour}:{minute}"


def _number(text: str) -> float | None:
    """Read a number as Go's yaml.v3 does: decimal, or in another base by its first characters."""
    plain = text.replace("_", "")
    if len(plain) > _MAX_DIGITS:
        return None
    if based := _BASED.fullmatch(plain):
        sign, base, digits = based.groups()
        try:
            return float(int(sign + digits, _BASES[base.lower()]))
        except ValueError:
            pass
    return float(plain) if _DECIMAL.fullmatch(plain) else None
