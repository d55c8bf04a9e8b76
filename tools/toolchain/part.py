"""A part of the toolchain: how to find it, and how to make it if it is missing."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from toolchain.work import Work

Source = Literal["machine", "cache"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A part that exists: where it is from, what it is, and what tools/env sets for it."""

    source: Source
    detail: str
    bin: str = ""
    """The folder to add to PATH; empty if it is on the machine's own PATH."""
    env: Mapping[str, str] = field(default_factory=dict)
    facts: Mapping[str, str] = field(default_factory=dict)
    """More for tests and the demo, in the status file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A part. `find` takes milliseconds and changes nothing; `make` may raise Missing."""

    name: str
    plan: str
    """What is made and how, in one printed line."""
    find: Callable[[], Found | None]
    make: Callable[[Work], None]
    needs: tuple[str, ...] = ()
    remedy: str = ""
    """What the user can do if a part that this one needs is missing."""
    core: bool = False
    """Whether nothing works without it, so that the exit status is 1."""
    helper: bool = False
    """Whether it is made only for parts that need it."""
