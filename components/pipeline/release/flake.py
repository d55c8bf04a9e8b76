"""The infra flake (or the app's own) at one version: fetched, and its inputs read."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..values import FlakeUrl
from . import nix
from .git import Pin
from .sources import Sources


@dataclass(frozen=True, slots=True, kw_only=True)
class Flake:
    """The infra flake at one version."""

    url: str
    """The URL for nix: `path:` of a folder, or a URL with the commit."""
    pin: Pin | None
    """Its commit; None for a folder, which is identified by its content."""
    dir: str
    """The sub-folder with flake.nix; empty for the top."""
    nar_hash: str
    tree: str | None
    """The git tree id of a folder, with which git can restore the same sources."""
    locks: Mapping[str, Any]
    """Its flake.lock."""
    notes: tuple[str, ...] = ()
    """What the user should know of its files: `Sources.notes`."""
    source: str = ""
    """Where nix has its sources, in the store; empty if it does not say."""

    @property
    def inputs(self) -> dict[str, dict[str, Any]]:
        """The `original` of each direct input that follows no other, as flake.lock has it."""
        nodes = self.locks["nodes"]
        return {
            name: nodes[node]["original"]
            for name, node in self._direct.items()
            if isinstance(node, str)
        }

    @property
    def follows(self) -> dict[str, str]:
        """The direct inputs that follow others, and what: `bundle/app`."""
        return {
            name: "/".join(path) for name, path in self._direct.items() if isinstance(path, list)
        }

    @property
    def _direct(self) -> Mapping[str, Any]:
        inputs: Mapping[str, Any] = self.locks["nodes"][self.locks["root"]].get("inputs", {})
        return inputs

    @property
    def identity(self) -> str:
        """Identifies its content, in whichever folder it is."""
        content = self.pin.rev.text if self.pin else self.nar_hash
        return f"{content}/{self.dir}"


async def describe(
    flake: FlakeUrl,
    url: str,
    pin: Pin | None,
    sources: Sources | None,
    *,
    remedy: str = "check flake and flakeRef",
) -> Flake:
    """Fetch the flake at `url` and read its inputs; `sources` if it is a folder of this machine.

    Raises:
        RefError: it cannot be fetched, or its lock is not up to date.
    """
    metadata = await nix.metadata(url, where=flake.text, remedy=remedy)
    return Flake(
        url=url,
        pin=pin,
        dir=flake.dir,
        nar_hash=metadata["locked"]["narHash"],
        tree=sources.tree if sources else None,
        notes=sources.notes if sources else (),
        locks=metadata["locks"],
        source=str(metadata.get("path") or ""),
    )
