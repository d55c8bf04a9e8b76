"""What changes between two toplevels, from their derivations, before anything is built."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from .attribute import EvaluatedAttr
from .boot_change import boot_changes
from .derivation import Derivation, difference
from .packages import VersionChange, version_changes, versions

_UNIT = re.compile(r"^unit-(?P<unit>.+\.(?:service|socket|timer|path|mount|slice|target))$")
_VERBS = {
    "stop": "stops",
    "restart": "restarts",
    "reload": "reloads",
    "leave": "changed, not restarted",
    "start": "starts",
}
"""What happens to units, in that order."""


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
    gone, come = versions(removed.values()), versions(added.values())
    return ChangeSet(
        packages=version_changes(gone, come),
        rebuilt=sum(1 for name in gone.keys() & come.keys() if gone[name] == come[name]),
        units=_units(removed.values(), added.values()),
        reboot=boot_changes(old, new),
    )


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
            verbs[_verb(new[unit].variable("text") or "")].append(unit)
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
