"""The programs that flakeup starts, or that nix and git start for it: what to do without one."""

import re
from typing import Final

MISSING: Final = "is not installed, or not on PATH"
"""What is said of a program that cannot be found."""

_INSTALL: Final = {
    "git": "install git",
    "incus": "install Incus's client",
    "nix": "install nix 2.24 or later",
    "skopeo": "install skopeo, or remove docker.registry",
    "ssh": "install OpenSSH's client",
}
STARTING: Final = frozenset({"git", "nix"})
"""Programs that start others on this machine, and say so in their own words."""
_NOT_STARTED: Final = re.compile(
    r"cannot run '?([\w.+/-]+)'?: No such file or directory"  # git
    r"|executing '([\w.+/-]+)': No such file or directory"  # nix
    r"|Could not find executable '([\w.+/-]+)'"
)

_COLOURS: Final = re.compile(r"\x1b\[[0-9;]*m")
"""A child of nix colours its words, whatever they are written to."""


def install(program: str) -> str:
    """The remedy where a program cannot be found."""
    return _INSTALL.get(program, f"install {program}")


def missing_in(printed: str) -> str | None:
    """The program that another one could not find, by what that printed; mostly None."""
    found = _NOT_STARTED.search(_COLOURS.sub("", printed))
    return next(filter(None, found.groups())) if found else None
