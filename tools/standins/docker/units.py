"""Durations and CPU counts in the notation of Go, which Docker's clients use."""

from __future__ import annotations

import re
from typing import Final

_SECOND: Final = 1_000_000_000
_UNITS: Final = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,
    "ms": 1_000_000,
    "s": _SECOND,
    "m": 60 * _SECOND,
    "h": 3600 * _SECOND,
}
_PART: Final = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)")


def nanoseconds(text: str) -> int | None:
    """Parse a duration such as `1m30s` or `500ms`; None if it is not one."""
    if text == "0":
        return 0
    parts = _PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        return None
    return sum(round(float(number) * _UNITS[unit]) for number, unit in parts)


def duration(nanos: int) -> str:
    """Format a duration as Go does: `1m0s`, `1.5s`, `500ms`, `0s`."""
    if nanos == 0:
        return "0s"
    if nanos < _SECOND:
        unit = next(unit for unit in ("ms", "µs", "ns") if nanos >= _UNITS[unit])
        return f"{_decimal(nanos, _UNITS[unit])}{unit}"
    minutes, rest = divmod(nanos, _UNITS["m"])
    hours, minutes = divmod(minutes, 60)
    seconds = f"{_decimal(rest, _SECOND)}s"
    if hours:
        return f"{hours}h{minutes}m{seconds}"
    return f"{minutes}m{seconds}" if minutes else seconds


def _decimal(value: int, unit: int) -> str:
    whole, rest = divmod(value, unit)
    fraction = f"{rest:0{len(str(unit)) - 1}d}".rstrip("0")
    return f"{whole}.{fraction}" if fraction else str(whole)


def nano_cpus(text: str) -> int | None:
    """Parse a number of CPUs such as `1.5`; None if it is not one."""
    if not re.fullmatch(r"\d+(?:\.\d{1,9})?|\.\d{1,9}", text):
        return None
    return round(float(text) * _SECOND)


def cpus(nanos: int) -> str:
    """Format a number of CPUs as a decimal number."""
    return _decimal(nanos, _SECOND)
