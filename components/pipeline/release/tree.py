"""The git tree id of a folder, computed from its files without a repository.

It is the same in every clone, committed or not, and `git archive` restores the sources from it (git
book, "Git Internals - Git Objects").
"""

import hashlib
import os
from pathlib import Path


def tree_id(folder: Path) -> str:
    """The id that git gives the tree of `folder`: 40 hex digits."""
    return _object("tree", _listing(folder)).hex()


def _listing(folder: Path) -> bytes:
    with os.scandir(folder) as entries:
        found = [_entry(entry) for entry in entries if entry.name != ".git"]
    # Git sorts folders as if their names ended in a slash, and has no empty folders.
    return b"".join(line for _, line in sorted(one for one in found if one is not None))


def _entry(entry: os.DirEntry[str]) -> tuple[bytes, bytes] | None:
    name = os.fsencode(entry.name)
    if entry.is_symlink():
        mode, digest = b"120000", _object("blob", os.fsencode(Path(entry.path).readlink()))
    elif entry.is_dir():
        listing = _listing(Path(entry.path))
        line = b"40000 " + name + b"\0" + _object("tree", listing)
        return (name + b"/", line) if listing else None
    else:
        mode = b"100755" if entry.stat().st_mode & 0o100 else b"100644"
        digest = _object("blob", Path(entry.path).read_bytes())
    return name, mode + b" " + name + b"\0" + digest


def _object(kind: str, content: bytes) -> bytes:
    head = f"{kind} {len(content)}\0".encode()
    return hashlib.sha1(head + content, usedforsecurity=False).digest()
