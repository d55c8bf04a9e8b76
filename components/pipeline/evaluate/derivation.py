"""Reads `.drv` files: the build graph of a toplevel, without building it.

The files are parsed directly (nix manual, "store derivation", ATerm): that takes an eighth of the
time of `nix derivation show -r`, and works with every version of nix.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from ..values import StorePath

_STRING = re.compile(r'(?:[^"\\]|\\.)*', re.DOTALL)
_INPUTS = re.compile(r'\("(/[^"]+\.drv)",\[[^\]]*\]\)')
_ENVIRONMENT = '],[("'
"""Where the builder's environment begins: the last of these, before the name of a variable."""
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Derivation:
    """One `.drv` file: its inputs, and its builder's environment."""

    path: str
    inputs: frozenset[str]
    text: str

    @classmethod
    def read(cls, path: str) -> "Derivation":
        """Read a derivation from this machine's store."""
        text = Path(path).read_text(encoding="utf-8", errors="replace")
        return cls(path=path, inputs=frozenset(_INPUTS.findall(text)), text=text)

    @property
    def name(self) -> str:
        """The name without hash and `.drv`: `openssl-3.0.13`."""
        return self.path.rsplit("/", 1)[1][33:].removesuffix(".drv")

    def variable(self, name: str) -> str | None:
        """A variable of the builder, as text, also with `__structuredAttrs`; None without it.

        Only that variable is read: a toplevel has thousands of derivations.
        """
        found = self._variable(name)
        if found is None and (attributes := self._variable("__json")) is not None:
            return _structured(attributes).get(name)
        return found

    def _variable(self, name: str) -> str | None:
        before = f'("{name}","'
        at = self.text.rfind(before, _begin_of_environment(self.text))
        if at < 0:
            return None
        found = _STRING.match(self.text, at + len(before))
        return _plain(found[0]) if found else None


def _begin_of_environment(text: str) -> int:
    """A quote in a string is escaped; so only the end of a string may look like this, too."""
    at = len(text)
    while (at := text.rfind(_ENVIRONMENT, 0, at)) >= 0:
        if text[at + len(_ENVIRONMENT)] not in "),":
            return at
    return 0


@lru_cache(maxsize=4096)
def _structured(attributes: str) -> dict[str, str]:
    """Attributes in JSON, as a builder without `__structuredAttrs` gets them."""
    found = json.loads(attributes)
    return {name: _coerced(value) for name, value in found.items()}


def _coerced(value: object) -> str:
    match value:
        case None | False | dict():
            return ""
        case True:
            return "1"
        case list():
            return " ".join(map(_coerced, value))
        case _:
            return str(value)


def _plain(text: str) -> str:
    return _ESCAPE.sub(lambda found: _ESCAPES.get(found[1], found[1]), text)


def difference(
    old: StorePath, new: StorePath
) -> tuple[dict[str, Derivation], dict[str, Derivation]]:
    """The derivations in only the old, and only the new, build graph, by path."""
    ours, theirs = _walk(old.path), _walk(new.path)
    shared = ours.keys() & theirs.keys()
    return (
        {path: drv for path, drv in ours.items() if path not in shared},
        {path: drv for path, drv in theirs.items() if path not in shared},
    )


def nearest(root: StorePath, is_sought: Callable[[Derivation], bool]) -> Derivation | None:
    """Of the derivations that `root` needs, itself included, the one with the fewest steps to it.

    A specialisation or a container brings parts of the same names, further away.
    """
    seen: set[str] = set()
    level = [root.path]
    while level:
        for path in level:
            if is_sought(drv := read(path)):
                return drv
        seen.update(level)
        level = sorted({one for path in level for one in read(path).inputs} - seen)
    return None


_cache: dict[str, Derivation] = {}
"""A cache: derivations never change, and hosts of one release share nearly all of them."""


def read(path: str) -> Derivation:
    """A derivation of this machine's store, read once."""
    if path not in _cache:
        _cache[path] = Derivation.read(path)
    return _cache[path]


def _walk(root: str) -> dict[str, Derivation]:
    seen: dict[str, Derivation] = {}
    waiting = [root]
    while waiting:
        path = waiting.pop()
        if path not in seen:
            seen[path] = read(path)
            waiting.extend(seen[path].inputs)
    return seen
