"""Copies of the program, each with one safeguard removed."""

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from harness.incus import ROOT


class MutationError(Exception):
    """A text to replace does not occur exactly once: the program has changed since."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """A text in a file, and what replaces it."""

    file: str
    """Relative to the root of the project."""
    text: str
    replacement: str

    def applied(self, folder: Path) -> str:
        """The file in `folder` with the text replaced.

        Raises:
            MutationError: the text does not occur exactly once.
        """
        whole = (folder / self.file).read_text()
        if (count := whole.count(self.text)) != 1:
            msg = f"{self.file} contains this text {count} times, not once: {self.text!r}"
            raise MutationError(msg)
        return whole.replace(self.text, self.replacement)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """The program without one safeguard, and the rows that must fail because of it."""

    name: str
    removes: str
    """The safeguard, for readers."""
    edits: tuple[Edit, ...]
    killers: dict[str, str]
    """Rows that must fail, each with a pattern for the problem: other failures prove nothing."""

    def check(self, folder: Path) -> None:
        """Check that every edit can be made.

        Raises:
            MutationError: one cannot be made.
        """
        for one in self.edits:
            one.applied(folder)

    def apply(self, folder: Path) -> None:
        """Apply the edits to the copy in `folder`."""
        for one in self.edits:
            (folder / one.file).write_text(one.applied(folder))


_VENV: Final = ".venv"


def copy_tree(target: Path) -> None:
    """Copy the project's files, except ignored ones; the virtual environment is linked."""
    listed = subprocess.run(
        ("git", "-C", str(ROOT), "ls-files", "-z", "-co", "--exclude-standard"),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).exists():  # not deleted in the work tree
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name, follow_symlinks=False)
    (target / _VENV).symlink_to(ROOT / _VENV)
