"""Reads the texts of a unit by systemd's rules (systemd.syntax(7))."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

_TRUE = frozenset({"1", "yes", "true", "on"})
"""What switch-to-configuration takes for true; anything else is false."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitFile:
    """The settings of a unit, its drop-ins included: section → key → values."""

    sections: Mapping[str, Mapping[str, tuple[str, ...]]]
    """Without `[Install]`, which is for `systemctl enable` alone.

    A key that was assigned nothing has no values; it is there all the same.
    """
    cleared: frozenset[tuple[str, str]]
    """Sections and keys whose first assignment is empty: what a drop-in takes from its unit."""

    def values(self, section: str, key: str) -> tuple[str, ...]:
        """All values of a key, in their order."""
        return self.sections.get(section, {}).get(key, ())

    def is_true(self, section: str, key: str, *, default: bool = False) -> bool:
        """The last value of a key, as a boolean."""
        values = self.values(section, key)
        return values[-1] in _TRUE if values else default


@lru_cache(maxsize=8192)
def parse(*texts: str) -> UnitFile:
    """Read the text of a unit and then those of its drop-ins.

    Hosts of one release share nearly all of their units, so each is read once.
    """
    sections: dict[str, dict[str, tuple[str, ...]]] = {}
    cleared = set()
    for section, key, value in (one for text in texts for one in _assignments(text)):
        if section in ("", "Install"):
            continue
        keys = sections.setdefault(section, {})
        if value:
            keys[key] = (*keys.get(key, ()), value)
        elif key:
            if key not in keys:
                cleared.add((section, key))
            keys[key] = ()
    return UnitFile(sections=sections, cleared=frozenset(cleared))


def _assignments(text: str) -> Iterator[tuple[str, str, str]]:
    """Section, key and value; the header of a section has neither key nor value."""
    section = ""
    for line in _lines(text):
        if line.startswith("["):
            section = line[1:].partition("]")[0]
            yield section, "", ""
        elif "=" in line:
            key, _, value = line.partition("=")
            yield section, key.rstrip(), value.lstrip()


def _lines(text: str) -> Iterator[str]:
    """Lines without comments; one that ends in a backslash goes on in the next."""
    joined = ""
    for line in text.split("\n"):
        if line.lstrip().startswith(("#", ";")):
            continue  # also between continued lines
        if line.endswith("\\"):
            joined += line[:-1] + " "
            continue
        if whole := (joined + line).strip():
            yield whole
        joined = ""
    if whole := joined.strip():
        yield whole
