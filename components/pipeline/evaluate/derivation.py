"""Reading `.drv` files: the graph of what a toplevel is built from, without building it.

The text is read directly (nix manual, "store derivation", ATerm): an eighth of the cost of
`nix derivation show -r`, and the same in every version of nix.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from ..values import StorePath

_STRING = r'"((?:[^"\\]|\\.)*)"'
_INPUTS = re.compile(r'\("(/[^"]+\.drv)",\[[^\]]*\]\)')
_PAIR = re.compile(rf"\({_STRING},{_STRING}\)")
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Derivation:
    """One `.drv` file: what it needs, and the environment of its builder."""

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

    @property
    def environment(self) -> dict[str, str]:
        """The builder's environment; its last list of pairs."""
        pairs = _PAIR.findall(self.text[self.text.rindex("],[(") :]) if "],[(" in self.text else ()
        return {_plain(key): _plain(value) for key, value in pairs}


def _plain(text: str) -> str:
    return _ESCAPE.sub(lambda found: _ESCAPES.get(found[1], found[1]), text)


def difference(
    old: StorePath, new: StorePath
) -> tuple[dict[str, Derivation], dict[str, Derivation]]:
    """The derivations that only the old, and only the new, closure is built from, by path.

    A path that is equal on both sides is an equal subtree, so neither walk enters it twice.
    """
    ours, theirs = _walk(old.path), _walk(new.path)
    shared = ours.keys() & theirs.keys()
    return (
        {path: drv for path, drv in ours.items() if path not in shared},
        {path: drv for path, drv in theirs.items() if path not in shared},
    )


_read: dict[str, Derivation] = {}
"""Derivations never change: hosts of one release share nearly all of them."""


def _walk(root: str) -> dict[str, Derivation]:
    seen: dict[str, Derivation] = {}
    waiting = [root]
    while waiting:
        path = waiting.pop()
        if path in seen:
            continue
        if path not in _read:
            _read[path] = Derivation.read(path)
        seen[path] = _read[path]
        waiting.extend(seen[path].inputs)
    return seen
