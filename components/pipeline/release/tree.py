"""The git tree id of files, computed without a repository.

It is the same in every clone, committed or not, and `git archive` restores the sources from it (git
book, "Git Internals - Git Objects").
"""

import hashlib
import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

LEFT_OUT: Final = frozenset({".git", ".flakeup"})
"""Names of what is no source: git's own files, and ours, with the ssh key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A file or a symbolic link: where it is, or its content."""

    mode: bytes
    """As git writes it: `100644`, `100755` or `120000` (a link, whose content is its target)."""
    path: Path
    content: bytes | None = None
    """What stands for the content of `path`."""

    def read(self) -> bytes:
        """The content."""
        if self.content is not None:
            return self.content
        return os.fsencode(self.path.readlink()) if self.is_link else self.path.read_bytes()

    @property
    def is_link(self) -> bool:
        """Whether it is a symbolic link."""
        return self.mode == b"120000"


def file_at(path: Path) -> File | None:
    """The file at a path; None if it is no regular file and no link (git has no others)."""
    try:
        mode = path.lstat().st_mode
    except OSError:
        return None
    if stat.S_ISLNK(mode):
        return File(mode=b"120000", path=path)
    if not stat.S_ISREG(mode):
        return None
    return File(mode=b"100755" if mode & stat.S_IXUSR else b"100644", path=path)


def files_in(folder: Path) -> dict[str, File]:
    """All files below a folder, by their path in it, without `LEFT_OUT`, sockets and pipes."""
    return dict(_walk(folder, ""))


def _walk(folder: Path, prefix: str) -> Iterator[tuple[str, File]]:
    with os.scandir(folder) as entries:
        found = sorted((entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries)
    for name, is_folder in found:
        if name in LEFT_OUT:
            continue
        if is_folder:
            yield from _walk(folder / name, f"{prefix}{name}/")
        elif file := file_at(folder / name):
            yield prefix + name, file


def tree_id(files: Mapping[str, File]) -> str:
    """The id that git gives the tree of these files: 40 hex digits."""
    parts = ((name.split("/"), file) for name, file in files.items())
    return _tree((path, file) for path, file in parts).hex()


def _tree(files: Iterable[tuple[list[str], File]]) -> bytes:
    lines: dict[bytes, bytes] = {}
    folders: dict[str, list[tuple[list[str], File]]] = {}
    for (first, *rest), file in files:
        if rest:
            folders.setdefault(first, []).append((rest, file))
            continue
        name = os.fsencode(first)
        lines[name] = file.mode + b" " + name + b"\0" + _object("blob", file.read())
    for folder, inside in folders.items():
        name = os.fsencode(folder)
        # Git sorts folders as if their names ended in a slash.
        lines[name + b"/"] = b"40000 " + name + b"\0" + _tree(inside)
    return _object("tree", b"".join(line for _, line in sorted(lines.items())))


def _object(kind: str, content: bytes) -> bytes:
    head = f"{kind} {len(content)}\0".encode()
    return hashlib.sha1(head + content, usedforsecurity=False).digest()
