"""What changes between two toplevels, from their derivations, before anything is built."""

from collections.abc import Mapping
from dataclasses import dataclass

from ..config.activation import Mode
from .attribute import EvaluatedAttr
from .boot_change import boot_changes
from .derivation import difference, nearest
from .fstab import mount_effects
from .packages import VersionChange, version_changes, versions
from .system_units import SystemUnits
from .unit_change import Effect, Switch, by_effect, changed_units


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeSet:
    """What a release changes on a host."""

    packages: tuple[VersionChange, ...]
    rebuilt: int
    """Packages with the same name and version, rebuilt from changed inputs."""
    units: Mapping[Effect, tuple[str, ...]]
    """What the switch does, and to which units of the system."""
    user_units: tuple[str, ...]
    """Changed units of users' sessions."""
    reboot: tuple[str, ...]
    """Why a reboot is needed; empty if it is not."""

    def lines(self, mode: Mode = Mode.SWITCH) -> list[str]:
        """The text of a preview, in a stable order.

        In mode boot a switch does nothing to a unit, and the system runs after a boot anyway.
        """
        packages = [f"packages: {', '.join(map(str, self.packages))}"] if self.packages else []
        users = [f"user units changed: {', '.join(self.user_units)}"] if self.user_units else []
        rebuilt = [f"rebuilt, same version: {self.rebuilt}"] if self.rebuilt else []
        if mode is Mode.BOOT:
            changed = sorted(unit for names in self.units.values() for unit in names)
            units = [f"units changed: {', '.join(changed)}"] if changed else []
            boot = [f"boots with another {', '.join(self.reboot)}"] if self.reboot else []
            return [*packages, *units, *users, *rebuilt, *boot]
        units = [f"{effect}: {', '.join(self.units[effect])}" for effect in self.units]
        reboot = f"reboot: needed ({', '.join(self.reboot)})" if self.reboot else "reboot: no"
        return [*packages, *units, *users, *rebuilt, reboot]


def change_set(old: EvaluatedAttr, new: EvaluatedAttr) -> ChangeSet:
    """Compare two systems by their derivations."""
    removed, added = difference(old.drv_path, new.drv_path)
    gone, come = versions(removed.values()), versions(added.values())
    return ChangeSet(
        packages=version_changes(gone, come),
        rebuilt=sum(1 for name in gone.keys() & come.keys() if gone[name] == come[name]),
        units=by_effect(_effects(old, new)),
        user_units=changed_units(_units(old, "user-units"), _units(new, "user-units")),
        reboot=boot_changes(old, new),
    )


def _effects(old: EvaluatedAttr, new: EvaluatedAttr) -> dict[str, Effect]:
    effects = Switch.of(_units(old, "system-units"), _units(new, "system-units")).effects()
    before, after = _fstab(old), _fstab(new)
    if before is None or after is None:
        return effects
    return mount_effects(before, after) | effects


def _fstab(system: EvaluatedAttr) -> str | None:
    """The text of /etc/fstab; containers have none, and a system may have it from elsewhere."""
    drv = nearest(system.drv_path, lambda drv: drv.name == "etc-fstab")
    return drv.variable("text") if drv else None


def _units(system: EvaluatedAttr, tree: str) -> SystemUnits:
    return SystemUnits.of(nearest(system.drv_path, lambda drv: drv.name == tree))
