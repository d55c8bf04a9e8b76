"""What a switch does about units, by the rules of nixpkgs' switch-to-configuration-ng.

The rules are those of its `compare_units`, `handle_modified_unit` and `collect_unit_changes`
(nixpkgs 0145c6da). It looks at active units alone, and in the end starts the active targets again,
with all that these want. Which units are active is the host's to know: a preview says "if active".
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import Final

from .system_units import SystemUnits, template_of
from .unit_file import UnitFile


class Effect(StrEnum):
    """What a switch does about a unit, in the words and the order of a preview."""

    STOP = "stops if active"
    SOCKET = "stops if active, and its socket starts it"
    RESTART = "restarts if active"
    RELOAD = "reloads if active"
    LEAVE = "changed, not restarted"
    NEXT_RUN = "changed, used from its next run on"
    NEXT_OPEN = "keeps its old settings until it is stopped, or the host reboots"
    START = "starts"


class Difference(Enum):
    """What two texts of a unit call for."""

    NONE = 0
    RELOAD = 1
    RESTART = 2


_IGNORED: Final = frozenset(
    {
        "Description", "Documentation", "SourcePath", "OnFailure", "OnSuccess", "OnFailureJobMode",
        "IgnoreOnIsolate", "AllowIsolate", "StopWhenUnneeded", "RefuseManualStart",
        "RefuseManualStop", "CollectMode", "X-Reload-Triggers",
    }
)  # fmt: skip
"""Keys of `[Unit]` that change nothing in a unit that runs."""
_NEVER_UNMOUNTED: Final = frozenset({"-.mount", "nix.mount"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Switch:
    """A switch from one system's units to another's."""

    old: SystemUnits
    new: SystemUnits
    started: frozenset[str]
    """What the targets of the new system pull in."""

    @classmethod
    def of(cls, old: SystemUnits, new: SystemUnits) -> "Switch":
        """A switch from one to the other."""
        return cls(old=old, new=new, started=new.started())

    def effects(self) -> dict[str, Effect]:
        """What it does, by unit."""
        found: dict[str, Effect] = {}
        for unit in _candidates(self.old, self.new):
            if effect := self._effect(unit):
                found[unit] = effect
        found |= {one: Effect.RESTART for unit in found for one in self._sockets_of(unit, found)}
        for unit in self.started - self.old.started():
            if unit in self.new.texts or template_of(unit) in self.new.texts:
                found.setdefault(unit, Effect.START)
        return found

    def _effect(self, unit: str) -> Effect | None:
        before, after = self.old.file(unit), self.new.file(unit)
        if after is None and (unit in self.new.masked or not self.old.is_drop_in(unit)):
            is_left = before and not before.is_true("Unit", "X-StopOnRemoval", default=True)
            return None if is_left else Effect.STOP
        if before is None and (unit in self.old.masked or not self.new.is_drop_in(unit)):
            return Effect.START if unit in self.started else None
        # Texts that only add to a unit of a package come or go: that unit has all their sections.
        before, after = before or _emptied(after), after or _emptied(before)
        if unit.endswith(".target"):
            return None  # started again in any case
        effect = self._effect_of_change(unit, before, after)
        if effect and _ends_by_itself(unit, before):
            return Effect.START if unit in self.started else Effect.NEXT_RUN
        return effect

    def _effect_of_change(self, unit: str, before: UnitFile, after: UnitFile) -> Effect | None:
        match compare(before, after):
            case Difference.NONE:
                return None
            case Difference.RELOAD:
                return Effect.RELOAD
            case Difference.RESTART:
                effect = _effect_of_restart(unit, after)
        is_back = unit in self.started or effect is not Effect.RESTART
        return effect if is_back or not self._is_by_socket(unit, after) else Effect.SOCKET

    def _is_by_socket(self, unit: str, file: UnitFile) -> bool:
        """Whether it is left to its sockets to start it again."""
        if file.is_true("Service", "X-NotSocketActivated"):
            return False
        return any(socket in self.new.names() for socket in _sockets(unit, file))

    def _sockets_of(self, unit: str, found: Mapping[str, Effect]) -> Iterator[str]:
        """The sockets of a service that is stopped and started are too: they take new settings."""
        file = self.new.file(unit)
        if file and found[unit] in (Effect.RESTART, Effect.SOCKET):
            there = self.old.names() & self.new.names()
            yield from (socket for socket in _sockets(unit, file) if socket in there)


def by_effect(effects: Mapping[str, Effect]) -> dict[Effect, tuple[str, ...]]:
    """The units of each effect that there is, in the order of a preview."""
    units = {one: tuple(sorted(unit for unit in effects if effects[unit] is one)) for one in Effect}
    return {effect: them for effect, them in units.items() if them}


def changed_units(old: SystemUnits, new: SystemUnits) -> tuple[str, ...]:
    """The units that come, go or differ in more than what is ignored."""
    return tuple(
        unit
        for unit in sorted(_candidates(old, new))
        if (before := old.file(unit)) is None
        or (after := new.file(unit)) is None
        or compare(before, after) is not Difference.NONE
    )


def compare(old: UnitFile, new: UnitFile) -> Difference:
    """What the differences between two texts of a unit call for."""
    came, gone = (
        {name: one.sections[name] for name in one.sections if name not in other.sections}
        for one, other in ((new, old), (old, new))
    )
    if len(came) > 1:
        return Difference.RESTART
    for section, keys in (came | gone).items():
        if section != "Unit" and not (section == "Service" and keys.keys() == {"ExecReload"}):
            return Difference.RESTART
    return max(_differences(old, new), key=lambda one: one.value, default=Difference.NONE)


def _differences(old: UnitFile, new: UnitFile) -> Iterator[Difference]:
    for section in old.sections.keys() | new.sections.keys():
        before, after = old.sections.get(section, {}), new.sections.get(section, {})
        for key in before.keys() | after.keys():
            if before.get(key) != after.get(key):
                yield _weigh(section, key, was=key in before, stays=key in after)


def _weigh(section: str, key: str, *, was: bool, stays: bool) -> Difference:
    match section, key:
        case ("Unit", "X-Reload-Triggers") | ("Service", "ExecReload"):
            # A unit that cannot be reloaded any more runs on.
            return Difference.RELOAD if stays else Difference.NONE
        case "Mount", "Options":
            return Difference.RELOAD if was and stays else Difference.RESTART
        case "Unit", _ if key in _IGNORED:
            return Difference.NONE
        case _:
            return Difference.RESTART


def _candidates(old: SystemUnits, new: SystemUnits) -> Iterator[str]:
    for unit in old.texts.keys() | new.texts.keys():
        template = template_of(unit) or ""
        if (
            old.texts.get(unit) != new.texts.get(unit)
            or (unit in old.masked) != (unit in new.masked)
            or old.texts.get(template) != new.texts.get(template)
        ):
            yield unit
    yield from new.masked - old.masked - old.texts.keys() - new.texts.keys()


def _emptied(file: UnitFile | None) -> UnitFile:
    sections = file.sections if file else {}
    return UnitFile(sections={name: {} for name in sections}, cleared=frozenset())


def _ends_by_itself(unit: str, file: UnitFile) -> bool:
    """Whether it is active only while it runs: what a timer starts, mostly."""
    return (
        unit.endswith(".service")
        and file.values("Service", "Type")[-1:] == ("oneshot",)
        and not file.is_true("Service", "RemainAfterExit")
    )


def _effect_of_restart(unit: str, file: UnitFile) -> Effect | None:
    if unit.endswith((".path", ".slice")):
        return None  # they take their settings when systemd reads its units again
    if unit.endswith(".mount"):
        return Effect.RELOAD if unit in _NEVER_UNMOUNTED else Effect.RESTART
    if unit.endswith(".socket"):
        return Effect.NEXT_OPEN
    if file.is_true("Service", "X-ReloadIfChanged"):
        return Effect.RELOAD
    is_left = (
        not file.is_true("Service", "X-RestartIfChanged", default=True)
        or file.is_true("Unit", "RefuseManualStop")
        or file.is_true("Unit", "X-OnlyManualStart")
    )
    return Effect.LEAVE if is_left else Effect.RESTART


def _sockets(unit: str, file: UnitFile) -> list[str]:
    """The sockets that are stopped and started with a service; a mere restart leaves them."""
    if not unit.endswith(".service") or not file.is_true(
        "Service", "X-StopIfChanged", default=True
    ):
        return []
    own = " ".join(file.values("Service", "Sockets")).split()
    return own or [f"{unit.removesuffix('.service').partition('@')[0]}.socket"]
