"""The systemd units of a system, from the derivations that nixpkgs makes for them."""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from .derivation import Derivation, read
from .unit_file import UnitFile, parse

_NAME = re.compile(
    r"""^\s*name=(?:'([^']+)'|(\S+))\s*$  # since 2022
    |"\$out/([^"$()]+)"                  # before
    """,
    re.MULTILINE | re.VERBOSE,
)
"""The file of a unit in its build text (nixpkgs, nixos/lib/systemd-lib.nix, makeUnit)."""
_LINK = re.compile(
    r"""\.\./(?P<unit>[^\s'"]+)['"]?\s+"?\$out/['"]?(?P<by>[^\s'"/]+)\.(wants|requires|upholds)\b"""
)
_DROP_IN = re.compile(r"(?P<unit>[^/]+)\.d/(?P<file>[^/]+\.conf)")
_TYPES: Final = (
    ".service", ".socket", ".timer", ".path", ".mount", ".automount", ".swap", ".slice", ".target"
)  # fmt: skip
_ESSENTIAL: Final = {
    "service": ("Service", re.compile(r"Exec(Start|Stop)")),
    "socket": ("Socket", re.compile(r"Listen\w+")),
    "timer": ("Timer", re.compile(r"On\w+")),
    "path": ("Path", re.compile(r"(Path|Directory)\w+")),
    "mount": ("Mount", re.compile(r"What|Where")),
    "automount": ("Automount", re.compile(r"Where")),
    "swap": ("Swap", re.compile(r"What")),
}
"""What a unit of a type cannot do without; a text that lacks it adds to a unit of a package."""
_BOOT_TARGETS: Final = frozenset(
    f"{name}.target"
    for name in (
        "default", "graphical", "multi-user", "basic", "sysinit", "sysinit-reactivation",
        "sockets", "timers", "paths", "slices", "swap", "local-fs", "local-fs-pre", "remote-fs",
        "remote-fs-pre", "cryptsetup", "network", "network-pre", "network-online", "nss-lookup",
        "nss-user-lookup", "time-sync", "getty", "machines",
    )
)  # fmt: skip
"""Targets that are active on a host in normal operation (systemd.special(7))."""
_PULLS: Final = ("Wants", "Requires", "BindsTo", "Upholds")


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemUnits:
    """The units that a system defines itself, in `/etc/systemd/system` or another such tree.

    What the units of packages say (`systemd.packages`, those of systemd) is in their outputs, and
    known only once these are built.
    """

    texts: Mapping[str, Mapping[str, str]]
    """Unit → the texts of its file, under the empty name, and of its drop-ins, by their names."""
    masked: frozenset[str]
    wants: Mapping[str, frozenset[str]]
    """Unit → what is linked in its `.wants`, `.requires` and `.upholds`."""

    @classmethod
    def of(cls, tree: Derivation | None) -> "SystemUnits":
        """Read the units of a tree: `system-units` or `user-units`."""
        texts: dict[str, dict[str, str]] = defaultdict(dict)
        masked = set()
        for drv in sorted(_unit_derivations(tree), key=lambda drv: drv.path):
            name = _name(drv)
            drop_in = _DROP_IN.fullmatch(name)
            unit, file = (drop_in["unit"], drop_in["file"]) if drop_in else (name, "")
            if not unit.endswith(_TYPES):
                continue
            if drv.name.endswith("-disabled"):
                masked.add(unit)
            else:
                texts[unit][file] = _text(drv)
        return cls(texts=dict(texts), masked=frozenset(masked), wants=_links(tree))

    def names(self) -> frozenset[str]:
        """The units that are there and not masked."""
        return frozenset(self.texts.keys() - self.masked)

    def file(self, unit: str) -> UnitFile | None:
        """What a unit says, of an instance with what its template does; None if it is not there."""
        if unit not in self.texts or unit in self.masked:
            return None
        own = self._parts(unit)
        if (template := template_of(unit)) and _is_partial(unit, parse(*own)):
            return parse(*self._parts(template), *own)
        return parse(*own)

    def is_drop_in(self, unit: str) -> bool:
        """Whether the texts only add to a unit that a package brings."""
        file = self.file(unit)
        return file is not None and _is_partial(unit, file)

    def started(self) -> frozenset[str]:
        """What a boot starts, and a switch unless it is active: what its targets pull in."""
        found: set[str] = set()
        waiting = list(_BOOT_TARGETS)
        while waiting:
            unit = waiting.pop()
            if unit in found or unit in self.masked:
                continue
            found.add(unit)
            waiting.extend(self.wants.get(unit, ()))
            if file := self.file(unit):
                waiting += " ".join(v for key in _PULLS for v in file.values("Unit", key)).split()
        return frozenset(found)

    def _parts(self, unit: str) -> tuple[str, ...]:
        """The texts in systemd's order: the file, then the drop-ins by name."""
        parts = self.texts.get(unit, {})
        return tuple(parts[file] for file in sorted(parts))


def template_of(unit: str) -> str | None:
    """The template of an instance; None if it is neither."""
    name, at, instance = unit.partition("@")
    kind = instance.rpartition(".")[2]
    return f"{name}@.{kind}" if at and instance != f".{kind}" else None


def _is_partial(unit: str, file: UnitFile) -> bool:
    kind = unit.rpartition(".")[2]
    if kind not in _ESSENTIAL:
        return False
    section, keys = _ESSENTIAL[kind]
    return not any(
        keys.fullmatch(key) and (section, key) not in file.cleared
        for key in file.sections.get(section, ())
    )


def _unit_derivations(tree: Derivation | None) -> Iterator[Derivation]:
    for path in tree.inputs if tree else ():
        drv = read(path)
        if drv.name.startswith("unit-"):
            yield drv


def _name(drv: Derivation) -> str:
    found = _NAME.search(drv.variable("buildCommand") or "")
    if found:
        return str(found[1] or found[2] or found[3]).replace("\\\\", "\\")
    # The name of a store path has `-` for `@`: `unit-app-.service` is the template `app@.service`.
    name = drv.name.removeprefix("unit-").removesuffix("-disabled")
    return name.replace("-.", "@.")


def _text(drv: Derivation) -> str:
    """The text; of a derivation that does not have it, one that changes with the derivation."""
    text = drv.variable("text")
    return f"[Unit]\nX-Restart-Triggers={drv.path}\n" if text is None else text


def _links(tree: Derivation | None) -> dict[str, frozenset[str]]:
    found: dict[str, set[str]] = defaultdict(set)
    commands = tree.variable("buildCommand") if tree else None
    for link in _LINK.finditer(commands or ""):
        found[link["by"]].add(link["unit"])
    return {unit: frozenset(units) for unit, units in found.items()}
