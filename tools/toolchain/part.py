"""A part of the toolchain: how to find it, and how to make it where it is missing."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from toolchain.work import Work

Source = Literal["machine", "cache"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A part that is there: whose it is, what it is, and what tools/env must set for it."""

    source: Source
    detail: str
    bin: str = ""
    """Folder to put on PATH; empty where the machine's own PATH leads to it."""
    env: Mapping[str, str] = field(default_factory=dict)
    facts: Mapping[str, str] = field(default_factory=dict)
    """What tests and the demo want to know, for the status file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One part. `find` takes milliseconds and changes nothing; `make` may raise Missing."""

    name: str
    plan: str
    """What making it means and why, as one line for a reader."""
    find: Callable[[], Found | None]
    make: Callable[[Work], None]
    needs: tuple[str, ...] = ()
    remedy: str = ""
    """What an owner can do where a part that this one needs cannot be had."""
    core: bool = False
    """Nothing works without it: the exit status says so."""
    helper: bool = False
    """Made only when a part that needs it has to be made."""
