"""What changes between two toplevels, from their derivations, before anything is built."""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from .attribute import EvaluatedAttr
from .derivation import Derivation, difference

_VERSIONED = re.compile(r"^(?P<name>.+?)-(?P<version>[^a-zA-Z].*|v\d.*)$")
"""Nix's rule for names (manual, builtins.parseDrvName), plus versions such as `v2`."""
_UNIT = re.compile(r"^unit-(?P<unit>.+\.(?:service|socket|timer|path|mount|slice|target))$")
_NOISE = re.compile(
    r"^(source|stdenv|bootstrap|hook|unit-|system-path|system-units|user-units|etc|nixos-system-)"
    r"|(\.tar(\.\w+)?|\.t[gx]z|\.zip|\.patch|\.diff|\.conf|\.json|\.sh|-hook|-etc|-units)$"
)
_VERBS = {
    "stop": "stops",
    "restart": "restarts",
    "reload": "reloads",
    "leave": "changed, not restarted",
    "start": "starts",
}
"""What happens to units, in that order."""
_REBOOT = {
    "kernel": re.compile(r"^linux-\d"),
    "initrd": re.compile(r"^initrd"),
    "kernel modules": re.compile(r"^kernel-modules"),
}
_REBOOT_ENVIRONMENT = {
    "kernelParams": "kernel parameters",
    "initInterfaceVersion": "init interface",
}
"""Variables of a toplevel's builder.

NixOS's `switch-to-configuration` refuses to switch to another init interface. It ignores all other
reasons for a reboot: those are activated, and take effect at the next boot.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionChange:
    """A package whose version differs; an empty side is a package added or removed."""

    name: str
    old: tuple[str, ...]
    new: tuple[str, ...]

    def __str__(self) -> str:
        old, new = ", ".join(self.old), ", ".join(self.new)
        if not self.old:
            return f"{self.name}: added {new}".rstrip()
        if not self.new:
            return f"{self.name}: removed {old}".rstrip()
        return f"{self.name}: {old} → {new}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeSet:
    """What a release changes on a host."""

    packages: tuple[VersionChange, ...]
    rebuilt: int
    """Packages with the same name and version, rebuilt from changed inputs."""
    units: Mapping[str, tuple[str, ...]]
    """`stop`, `restart`, `reload`, `leave` and `start`: the units of each."""
    reboot: tuple[str, ...]
    """Why a reboot is needed; empty if it is not."""

    def lines(self) -> list[str]:
        """The text of a preview, in a stable order."""
        packages = [f"packages: {', '.join(map(str, self.packages))}"] if self.packages else []
        units = [f"{_VERBS[verb]}: {', '.join(them)}" for verb, them in self.units.items() if them]
        rebuilt = [f"rebuilt, same version: {self.rebuilt}"] if self.rebuilt else []
        reboot = f"reboot: needed ({', '.join(self.reboot)})" if self.reboot else "reboot: no"
        return [*packages, *units, *rebuilt, reboot]


def change_set(old: EvaluatedAttr, new: EvaluatedAttr) -> ChangeSet:
    """Compare two systems by their derivations."""
    removed, added = difference(old.drv_path, new.drv_path)
    gone, come = _packages(removed.values()), _packages(added.values())
    names = sorted(name for name in gone.keys() | come.keys() if gone.get(name) != come.get(name))
    return ChangeSet(
        packages=tuple(
            VersionChange(
                name=name,
                old=tuple(sorted(gone.get(name, ()))),
                new=tuple(sorted(come.get(name, ()))),
            )
            for name in names
        ),
        rebuilt=sum(1 for name in gone.keys() & come.keys() if gone[name] == come[name]),
        units=_units(removed.values(), added.values()),
        reboot=_reboot(removed, added, old, new),
    )


def _packages(derivations: Iterable[Derivation]) -> dict[str, set[str]]:
    versions: dict[str, set[str]] = defaultdict(set)
    for drv in derivations:
        if _NOISE.search(drv.name):
            continue
        found = _VERSIONED.match(drv.name)
        if found:
            versions[found["name"]].add(found["version"])
        elif "outputHash" not in drv.text:
            versions[drv.name].add("")
    return {name: found for name, found in versions.items() if found != {""}}


def _units(
    removed: Iterable[Derivation], added: Iterable[Derivation]
) -> dict[str, tuple[str, ...]]:
    old, new = _by_unit(removed), _by_unit(added)
    verbs: dict[str, list[str]] = {verb: [] for verb in _VERBS}
    for unit in sorted(old.keys() | new.keys()):
        if unit not in new:
            verbs["stop"].append(unit)
        elif unit not in old:
            verbs["start"].append(unit)
        else:
            verbs[_verb(new[unit].environment.get("text", ""))].append(unit)
    return {verb: tuple(units) for verb, units in verbs.items()}


def _by_unit(derivations: Iterable[Derivation]) -> dict[str, Derivation]:
    found = ((drv, _UNIT.match(drv.name)) for drv in derivations)
    # Nixpkgs writes `@` as `-` in store names: `app-.service` is the template `app@.service`.
    return {match["unit"].replace("-.", "@."): drv for drv, match in found if match}


def _verb(text: str) -> str:
    """What switch-to-configuration does with a changed unit (nixpkgs, handle_modified_unit)."""
    if "X-ReloadIfChanged=true" in text:
        return "reload"
    if "X-RestartIfChanged=false" in text or "RefuseManualStop=true" in text:
        return "leave"
    return "restart"


def _reboot(
    removed: Mapping[str, Derivation],
    added: Mapping[str, Derivation],
    old: EvaluatedAttr,
    new: EvaluatedAttr,
) -> tuple[str, ...]:
    changed = [drv.name for drv in (*removed.values(), *added.values())]
    parts = [what for what, name in _REBOOT.items() if any(map(name.search, changed))]
    before, after = (
        side[system.drv_path.path].environment if system.drv_path.path in side else {}
        for side, system in ((removed, old), (added, new))
    )
    parts += [
        what
        for variable, what in _REBOOT_ENVIRONMENT.items()
        if before.get(variable) != after.get(variable)
    ]
    return tuple(parts)
