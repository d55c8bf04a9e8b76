"""Evaluates the previous release again, from its record in the state.

A preview in CI has never evaluated what the hosts run now. From the same sources evaluation gives
the same derivations, so its change set is as exact as on a laptop.
"""

import asyncio
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..config.stack import Settings
from ..errors import FlakeupError, RefError, message
from ..release import nix, sources
from ..release.flake import describe
from ..release.git import Pin, RefKind
from ..release.release import Release, lock_release
from ..release.sources import Sources
from ..release.urls import folder_url, locked_url
from ..values import FlakeUrl, Ref, Rev, StorePath
from .attribute import EvaluatedAttr
from .evaluate import evaluate_host


async def evaluate_previous(
    record: Mapping[str, Any], settings: Settings, root: Path, attr: str, out: StorePath
) -> EvaluatedAttr | None:
    """The system of `attr` in the recorded release, if that is what `out` came from."""
    try:
        found = await evaluate_host(await _release(record, settings, root), attr)
    except (FlakeupError, KeyError, ValueError, OSError):
        return None
    return found if found.out_path == out else None


async def _release(record: Mapping[str, Any], settings: Settings, root: Path) -> Release:
    flake = FlakeUrl.parse(str(record["flake"]))
    if "flakeRev" in record:
        pin = Pin(ref=None, kind=RefKind.COMMIT, rev=Rev.parse(record["flakeRev"]), full=None)
        described = await describe(flake, locked_url(flake, pin), pin, None)
    else:
        found = await _sources(root / flake.base, Rev.parse(record["flakeTree"]).text)
        described = await describe(flake, folder_url(found, flake), None, found)
    app_input = str(record.get("appInput", settings.app_input))
    return await lock_release(described, _app_pin(record), app_input)


def _app_pin(record: Mapping[str, Any]) -> Pin | None:
    if "appRev" not in record:
        return None
    kind = RefKind(record["appRefKind"])
    name = str(record["appRef"])
    heads = {RefKind.TAG: "refs/tags/", RefKind.BRANCH: "refs/heads/"}
    full = name if name.startswith("refs/") else f"{heads[kind]}{name}" if kind in heads else None
    return Pin(ref=Ref.parse(name), kind=kind, rev=Rev.parse(record["appRev"]), full=full)


async def _sources(folder: Path, tree: str) -> Sources:
    """A tree of the repository that contains `folder`, unpacked in our cache."""
    target = sources.cached(tree)
    if not await asyncio.to_thread(sources.is_intact, target, tree):
        top = await nix.run_git(("git", "-C", str(folder), "rev-parse", "--show-toplevel"))
        # Of its own for each run: another one may unpack the same tree, or may have been cut off.
        target.parent.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="partial-", dir=target.parent) as partial:
            archive, unpacked = Path(partial) / "source.tar", Path(partial) / "source"
            to = ("--format=tar", f"--output={archive}")
            await nix.run_git(("git", "-C", top, "archive", *to, tree))
            if not await asyncio.to_thread(_unpack, archive, unpacked, tree):
                raise RefError(message("no flake", "the previous release", f"tree {tree}"))
    return Sources(folder=target, tree=tree)


def _unpack(archive: Path, unpacked: Path, tree: str) -> Path | None:
    shutil.unpack_archive(archive, unpacked, "tar", filter="data")
    return sources.keep(unpacked, tree)
