"""What refs and folders were when a run looked at them, for another run of the same release.

An update runs the program again after its preview, which somebody may have read for ten minutes: a
branch has moved meanwhile, or a file was saved. What was read is what is to be deployed.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from ..values import Ref, Rev
from . import git, sources
from .git import Pin, RefKind
from .sources import Sources


class Pins:
    """The refs and folders of a run, each looked at once."""

    def __init__(self) -> None:
        self._refs: dict[str, Pin] = {}
        self._folders: dict[str, Sources] = {}

    async def resolve(self, remote: str, ref: Ref | None, *, key: str) -> Pin:
        """Resolve a ref, as `git.resolve` does.

        Raises:
            RefError: it cannot be resolved.
        """
        name = f"{ref.text if ref else 'HEAD'} {remote}"
        if name not in self._refs:
            self._refs[name] = await git.resolve(remote, ref, key=key)
        return self._refs[name]

    async def take(self, folder: Path, subfolder: str) -> Sources:
        """Copy the sources of a flake, as `sources.take` does.

        Raises:
            RefError: they cannot be copied.
        """
        name = str(folder)
        known = self._folders.get(name)
        if known is None or not sources.is_intact(known.folder, known.tree):
            self._folders[name] = await sources.take(folder, subfolder)
        return self._folders[name]

    def record(self) -> dict[str, Any]:
        """Everything that was looked at, for `parse`."""
        refs = {
            name: {"rev": pin.rev.text, "kind": pin.kind, "full": pin.full}
            for name, pin in self._refs.items()
        }
        folders = {
            name: {"tree": one.tree, "notes": one.notes} for name, one in self._folders.items()
        }
        return {"refs": refs, "folders": folders}

    @classmethod
    def parse(cls, record: Mapping[str, Any]) -> Self:
        """Read what `record` gave.

        Raises:
            LookupError, TypeError, ValueError: it is something else.
        """
        found = cls()
        for name, pin in record["refs"].items():
            ref = name.partition(" ")[0]
            found._refs[name] = Pin(
                ref=None if ref == "HEAD" else Ref.parse(ref),
                kind=RefKind(pin["kind"]),
                rev=Rev.parse(pin["rev"]),
                full=pin["full"],
            )
        for name, one in record["folders"].items():
            tree = Rev.parse(one["tree"]).text
            folder, notes = sources.cached(tree), tuple(map(str, one["notes"]))
            found._folders[name] = Sources(folder=folder, tree=tree, notes=notes)
        return found
