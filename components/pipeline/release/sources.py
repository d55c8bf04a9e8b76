"""The files of a flake that is a folder: what git would give, copied to our cache.

Nix would copy all of the folder (`path:`): what git ignores, such as secrets, sockets and results
of builds, and the ssh key of the stack. Or all of the repository (`git+file:`): then each
`pulumi config set` would change every system that refers to `self`. So the tracked files of the
folder are copied, with their content in the work tree; those with a filter (git-crypt, git-lfs) as
git keeps them. Two clones, and two users, then have the same sources.
"""

import asyncio
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ..errors import ProcessError, RefError, message, printable
from ..process.run import CompletedProcess, run
from . import nix
from .tree import LEFT_OUT, File, file_at, files_in, tree_id

GIT_TIMEOUT: Final = 60.0
"""Seconds for one question to git about a work tree."""
_MTIME: Final = (1, 1)
"""Of each file: nix gives a flake the newest one as `lastModified`."""
_TRIES: Final = 3
_NAMED: Final = 5
_GITLINK: Final = "160000"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """A copy of a flake's files."""

    folder: Path
    """In our cache; its path has the tree id, and nix gives it the same hash on each machine."""
    tree: str
    """The git tree id: 40 hex digits."""
    notes: tuple[str, ...] = ()
    """What the user should know of them, one line each: what is not committed, or left out."""


async def take(folder: Path, subfolder: str) -> Sources:
    """Copy the sources of a flake, whose flake.nix is in `subfolder` of `folder`.

    Raises:
        RefError: there is no flake.nix, git does not track it, or git cannot be asked.
    """
    where = folder / subfolder
    if not (where / "flake.nix").is_file():
        detail = f"{where} has no flake.nix"
        raise RefError(message("no flake", "flake", detail, "name the folder that holds it"))
    for _ in range(_TRIES):
        tracked = await _tracked(folder)
        if tracked is None:
            files: Mapping[str, File] = await asyncio.to_thread(files_in, folder)
        else:
            files = await _files(folder, tracked)
            _require_flake(files, folder, subfolder)
        made = await asyncio.to_thread(_copy, files)
        if made:
            notes = () if tracked is None else await _notes(folder)
            return Sources(folder=made, tree=made.parent.name, notes=notes)
    remedy = "run it again when nothing writes to that folder"
    raise RefError(message("the flake changes while it is read", "flake", str(folder), remedy))


def _require_flake(files: Mapping[str, File], folder: Path, subfolder: str) -> None:
    name = f"{subfolder}/flake.nix" if subfolder else "flake.nix"
    if name not in files:
        detail = f"git does not track {name} in {folder}"
        remedy = "run `git add` for it (flakeup takes what git tracks, as nix does)"
        raise RefError(message("no flake", "flake", detail, remedy))


async def _git(
    folder: Path, *args: str, stdin: bytes = b"", check: bool = True
) -> CompletedProcess:
    argv = ("git", "--no-optional-locks", "-C", str(folder), *args)
    return await run(argv, timeout=GIT_TIMEOUT, env={"LC_ALL": "C"}, stdin=stdin, check=check)


async def _tracked(folder: Path) -> dict[str, str] | None:
    """The blob ids of the files that git tracks, by path; None if this is no repository.

    Raises:
        RefError: git refuses to answer, for example for another user's repository.
    """
    args = ("ls-files", "-z", "--cached", "--stage", "--recurse-submodules", "--", ".")
    try:
        done = await _git(folder, *args, check=False)
    except ProcessError as error:
        if not _in_repository(folder):
            return None
        raise _unusable(folder, error.last_lines(1)) from error
    if done.code != 0:
        if "not a git repository" in done.stderr_text and not _in_repository(folder):
            return None
        raise _unusable(folder, done.stderr_text)
    found = {}
    for line in done.stdout.decode(errors="surrogateescape").split("\0"):
        head, _, path = line.partition("\t")
        if not path:
            continue
        mode, blob, stage = head.split(" ")
        if stage != "0":
            raise _unusable(folder, f"{printable(path)} has a merge conflict")
        if mode != _GITLINK and LEFT_OUT.isdisjoint(path.split("/")):
            found[path] = blob
    return found


def _in_repository(folder: Path) -> bool:
    return any((one / ".git").exists() for one in (folder, *folder.parents))


def _unusable(folder: Path, detail: str) -> RefError:
    remedy = "`git status` there must work: flakeup takes the files that git tracks"
    return RefError(message("cannot ask git for the flake's files", str(folder), detail, remedy))


async def _files(folder: Path, tracked: Mapping[str, str]) -> dict[str, File]:
    """The tracked files that exist; those with a filter with the content that git keeps."""
    stored = await _stored(folder, tracked)
    found: dict[str, File] = {}
    plain_folders: dict[Path, bool] = {}
    for name in tracked:
        path = folder / name
        # What is behind a link is not in the repository: to git, the file is deleted.
        parent = path.parent
        if parent not in plain_folders:
            plain_folders[parent] = _is_plain(parent, folder)
        file = file_at(path) if plain_folders[parent] else None
        if file:
            found[name] = File(mode=file.mode, path=path, content=stored.get(name))
    return found


def _is_plain(folder: Path, top: Path) -> bool:
    while folder != top:
        if folder.is_symlink():
            return False
        folder = folder.parent
    return True


async def _stored(folder: Path, tracked: Mapping[str, str]) -> dict[str, bytes]:
    """The content that git keeps of files with a `filter` attribute (gitattributes(5))."""
    names = "".join(f"{name}\0" for name in tracked).encode(errors="surrogateescape")
    try:
        asked = await _git(folder, "check-attr", "-z", "--stdin", "filter", stdin=names)
        words = asked.stdout.decode(errors="surrogateescape").split("\0")
        with_filter = [
            name
            for name, value in zip(words[::3], words[2::3], strict=False)
            if value not in {"unspecified", "unset"}
        ]
        if not with_filter:
            return {}
        ids = "".join(f"{tracked[name]}\n" for name in with_filter).encode()
        batch = (await _git(folder, "cat-file", "--batch", stdin=ids)).stdout
    except ProcessError as error:
        raise _unusable(folder, error.last_lines(1)) from error
    return _parse_batch(batch, with_filter, folder)


def _parse_batch(batch: bytes, names: list[str], folder: Path) -> dict[str, bytes]:
    """Split the answer of `git cat-file --batch`: `<id> blob <size>`, the content, a newline."""
    found = {}
    for name in names:
        head, _, batch = batch.partition(b"\n")
        words = head.split(b" ")
        if len(words) != 3 or words[1] != b"blob":  # noqa: PLR2004 id, type and size
            raise _unusable(folder, f"{printable(name)} has a filter, and is not in the repository")
        size = int(words[2])
        found[name], batch = batch[:size], batch[size + 1 :]
    return found


async def _notes(folder: Path) -> tuple[str, ...]:
    args = ("status", "--porcelain", "-z", "--untracked-files=normal", "--no-renames", "--", ".")
    try:
        done = await _git(folder, *args)
    except ProcessError as error:
        raise _unusable(folder, error.last_lines(1)) from error
    lines = [line for line in done.stdout.decode(errors="replace").split("\0") if line]
    changed = [line[3:] for line in lines if not line.startswith("??")]
    untracked = [line[3:] for line in lines if line.startswith("??")]
    notes = (
        ("the flake has changes that are not committed", changed),
        ("git does not track, so the flake does not have", untracked),
    )
    return tuple(f"{what}: {_listed(them)}" for what, them in notes if them)


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(map(printable, names[:_NAMED])) + more


def _copy(files: Mapping[str, File]) -> Path | None:
    """Copy files into the cache; None if they have changed meanwhile."""
    try:
        tree = tree_id(files)
        target = cached(tree)
        if is_intact(target, tree):
            return target
        with tempfile.TemporaryDirectory(prefix="partial-", dir=_trees()) as partial:
            copy = Path(partial) / "source"
            copy.mkdir()
            for name, file in files.items():
                _write(copy / name, file)
            return keep(copy, tree)
    except FileNotFoundError:
        return None


def _write(path: Path, file: File) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if file.is_link:
        path.symlink_to(os.fsdecode(file.read()))
    else:
        path.write_bytes(file.read())
        path.chmod(0o755 if file.mode == b"100755" else 0o644)


def _trees() -> Path:
    folder = nix.cache_folder() / "trees"
    folder.mkdir(exist_ok=True)
    return folder


def cached(tree: str) -> Path:
    """Where a tree is in our cache."""
    return _trees() / tree / "source"


def is_intact(folder: Path, tree: str) -> bool:
    """Whether the cache has the whole tree; a power cut may have left empty files."""
    return folder.is_dir() and tree_id(files_in(folder)) == tree


def keep(copy: Path, tree: str) -> Path | None:
    """Move a copy of a tree to its place in the cache; None if it is not that tree."""
    if tree_id(files_in(copy)) != tree:
        return None
    for path in (copy, *copy.rglob("*")):
        os.utime(path, _MTIME, follow_symlinks=False)
    target = cached(tree)
    target.parent.mkdir(exist_ok=True)
    if target.exists() and not is_intact(target, tree):
        shutil.rmtree(target, ignore_errors=True)
    try:
        copy.rename(target)
    except OSError:
        if not is_intact(target, tree):  # otherwise another run was faster
            raise
    return target
