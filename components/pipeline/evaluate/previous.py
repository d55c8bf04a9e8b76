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
from ..process import files
from ..release import nix
from ..release.flake import describe
from ..release.git import Pin, RefKind
from ..release.release import Release, lock_release
from ..release.urls import locked_url
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
        sources = await _sources(root / flake.base, str(record["flakeTree"]))
        url = f"path:{sources}" + (f"?dir={flake.dir}" if flake.dir else "")
        described = await describe(flake, url, None, sources)
    return await lock_release(described, _app_pin(record), settings.app_input)


def _app_pin(record: Mapping[str, Any]) -> Pin | None:
    if "appRev" not in record:
        return None
    kind = RefKind(record["appRefKind"])
    name = str(record["appRef"])
    heads = {RefKind.TAG: "refs/tags/", RefKind.BRANCH: "refs/heads/"}
    full = name if name.startswith("refs/") else f"{heads[kind]}{name}" if kind in heads else None
    return Pin(ref=Ref.parse(name), kind=kind, rev=Rev.parse(record["appRev"]), full=full)


async def _sources(folder: Path, tree: str) -> Path:
    """A tree of the repository that contains `folder`, unpacked in our cache."""
    target = nix.cache_folder() / "trees" / Rev.parse(tree).text / "source"
    if _is_flake(target):
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    here = ("git", "-C", str(folder))
    top = await nix.run_git((*here, "rev-parse", "--show-toplevel"))
    # Of its own for each run: another one may unpack the same tree, or may have been cut off.
    with tempfile.TemporaryDirectory(prefix="partial-", dir=target.parent) as partial:
        archive, unpacked = Path(partial) / "source.tar", Path(partial) / "source"
        await nix.run_git(
            ("git", "-C", top, "archive", "--format=tar", f"--output={archive}", tree)
        )
        await asyncio.to_thread(_unpack, archive, unpacked, target)
    if not _is_flake(target):
        raise RefError(message("no flake", "the previous release", f"tree {tree}"))
    return target


def _unpack(archive: Path, unpacked: Path, target: Path) -> None:
    shutil.unpack_archive(archive, unpacked, "tar", filter="data")
    if not _is_flake(target):
        shutil.rmtree(target, ignore_errors=True)
    try:
        files.publish(unpacked, target)
    except OSError:
        if not _is_flake(target):  # otherwise another run was faster
            raise


def _is_flake(folder: Path) -> bool:
    """Whether it has a flake; an empty one is what a power cut has left."""
    file = folder / "flake.nix"
    return file.is_file() and file.stat().st_size > 0
