"""The packages of a build graph, and what changes between those of two."""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from .derivation import Derivation

_VERSIONED = re.compile(r"^(?P<name>.+?)-(?P<version>[^a-zA-Z].*|v\d.*)$")
"""Nix's rule for names (manual, builtins.parseDrvName), plus versions such as `v2`."""
_NO_PACKAGE = re.compile(
    r"^(unit-|etc-|X-(Restart|Reload)-Triggers-|nixos-system-|initrd-)"
    r"|(\.tar(\.\w+)?|\.t[gx]z|\.zip|\.patch|\.diff|\.conf|\.json|\.sh"
    r"|-hook|-env|-modules|-modules-shrunk)$"
)
"""Names of parts of a system, of sources and of trees of links, with something like a version."""
_BOOTSTRAP = re.compile(r"^bootstrap-stage\d")
"""Compilers that only build the compiler: they have the versions of what they stand in for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionChange:
    """A package whose version differs; an empty side is a package added or removed."""

    name: str
    old: tuple[str, ...]
    new: tuple[str, ...]

    def __str__(self) -> str:
        old, new = ", ".join(self.old), ", ".join(self.new)
        if not self.old:
            return f"{self.name}: added {new}"
        if not self.new:
            return f"{self.name}: removed {old}"
        return f"{self.name}: {old} → {new}"


def versions(derivations: Iterable[Derivation]) -> dict[str, set[str]]:
    """The packages among derivations, and their versions."""
    found: dict[str, set[str]] = defaultdict(set)
    for name, version in filter(None, map(_package, derivations)):
        found[name].add(version)
    return dict(found)


def version_changes(
    old: Mapping[str, set[str]], new: Mapping[str, set[str]]
) -> tuple[VersionChange, ...]:
    """The packages that are not there in the same versions."""
    return tuple(
        VersionChange(
            name=name,
            old=tuple(sorted(old.get(name, ()))),
            new=tuple(sorted(new.get(name, ()))),
        )
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name)
    )


@lru_cache(maxsize=65536)
def _package(drv: Derivation) -> tuple[str, str] | None:
    """Name and version, if it is a package: by its variables, as nixpkgs sets them, or its name.

    One without a version is none: scripts, trees of links and texts have none. Hosts of one release
    share nearly all of their packages.
    """
    if _BOOTSTRAP.match(drv.name):
        return None
    pname, version = drv.variable("pname"), drv.variable("version")
    if pname and version:
        return pname, version
    if drv.variable("outputHash") or drv.variable("text") is not None:
        return None  # a source, or a text file
    if version and drv.name.endswith(f"-{version}"):
        return drv.name.removesuffix(f"-{version}"), version
    found = None if _NO_PACKAGE.search(drv.name) else _VERSIONED.match(drv.name)
    return (found["name"], found["version"]) if found else None
