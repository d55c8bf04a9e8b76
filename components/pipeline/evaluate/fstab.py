"""What a switch does about the file systems of `/etc/fstab`.

Their units are generated on the host, so switch-to-configuration compares the two files instead.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from .unit_change import Effect

_FIELDS = re.compile(r"\s*(\S+)\s+(\S+)\s+(\S+)(?:\s+(\S+))?")
_KEPT_MOUNTED: Final = frozenset({"/", "/nix"})
_PLAIN: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789:_.")


@dataclass(frozen=True, slots=True, kw_only=True)
class FileSystem:
    """A line of fstab(5)."""

    device: str
    place: str
    """Where it is mounted; of swap, the device."""
    kind: str
    options: str

    @property
    def unit(self) -> str:
        """The unit that a switch stops or starts with it."""
        is_automount = "x-systemd.automount" in self.options
        suffix = "swap" if self.kind == "swap" else "automount" if is_automount else "mount"
        return f"{escape_path(self.place)}.{suffix}"

    @property
    def mount_unit(self) -> str:
        """The unit that a switch reloads or restarts with it."""
        return f"{escape_path(self.place)}.mount"


def mount_effects(old: str, new: str) -> dict[str, Effect]:
    """What is done, and about which units, by two texts of the file."""
    before = {one.place: one for one in _read(old)}
    after = {one.place: one for one in _read(new)}
    found: dict[str, Effect] = {}
    for place in before.keys() | after.keys():
        was, is_now = before.get(place), after.get(place)
        if was is None and is_now is not None:
            if "noauto" not in is_now.options.split(","):
                found[is_now.unit] = Effect.START
        elif was is not None and is_now is None:
            found[was.unit] = Effect.STOP
        elif was and is_now and was.kind != "swap" and (effect := _effect(was, is_now)):
            found[is_now.mount_unit] = effect
    return found


def _effect(old: FileSystem, new: FileSystem) -> Effect | None:
    is_remounted = old.options != new.options
    if (old.device, old.kind) == (new.device, new.kind):
        return Effect.RELOAD if is_remounted else None
    if new.place not in _KEPT_MOUNTED:
        return Effect.RESTART
    return Effect.RELOAD if is_remounted else Effect.LEAVE


def escape_path(path: str) -> str:
    r"""The name of a path's unit (systemd-escape --path): `/mnt/a-b` is `mnt-a\x2db`."""
    whole = "/".join(part for part in path.split("/") if part)
    if not whole:
        return "-"
    escaped = "".join(_escape_character(one) for one in whole)
    return r"\x2e" + escaped[1:] if escaped.startswith(".") else escaped


def _escape_character(one: str) -> str:
    if one == "/":
        return "-"
    return one if one in _PLAIN else "".join(f"\\x{byte:02x}" for byte in one.encode())


def _read(text: str) -> Iterator[FileSystem]:
    for line in text.splitlines():
        if "#" in line or not (fields := _FIELDS.match(line)):
            continue
        device, place, kind, options = fields.groups("")
        place = device if kind == "swap" else place
        yield FileSystem(device=device, place=place, kind=kind, options=options)
