"""A copy of the program with one of its safeguards taken away."""

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from harness.incus import ROOT


class MutationError(Exception):
    """A text to be replaced is not there exactly once: the program has changed since."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Replacement:
    """One text of a file, and what takes its place."""

    file: str
    """Relative to the program's folder."""
    text: str
    by: str

    def applied(self, folder: Path) -> str:
        """The file's text in `folder` with the replacement made.

        Raises:
            MutationError: the text is not there, or more than once.
        """
        whole = (folder / self.file).read_text()
        if (count := whole.count(self.text)) != 1:
            msg = f"{self.file} has this text {count} times, and not once: {self.text!r}"
            raise MutationError(msg)
        return whole.replace(self.text, self.by)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """The program without one safeguard, and the rows that have to fail because of it."""

    name: str
    removes: str
    """What it is without, for a reader."""
    replacements: tuple[Replacement, ...]
    killers: dict[str, str]
    """Rows that have to fail, each with a pattern of why: another failure proves nothing."""

    def check(self, folder: Path) -> None:
        """Look that every replacement can be made.

        Raises:
            MutationError: one cannot.
        """
        for one in self.replacements:
            one.applied(folder)

    def apply(self, folder: Path) -> None:
        """Make the replacements in the program in `folder`."""
        for one in self.replacements:
            (folder / one.file).write_text(one.applied(folder))


_LINKED: Final = ".venv"


def copy_tree(target: Path) -> None:
    """Copy what git tracks or would track; the tools are shared with the original."""
    listed = subprocess.run(
        ("git", "-C", str(ROOT), "ls-files", "-z", "-co", "--exclude-standard"),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).exists():  # else it is about to be removed
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name, follow_symlinks=False)
    (target / _LINKED).symlink_to(ROOT / _LINKED)
