"""Files and folders that are there whole, or not at all, after a power cut too.

A file that is renamed before it is on the disk may be empty afterwards, and is never written again.
"""

import os
import secrets
from pathlib import Path


def beside(target: Path) -> Path:
    """A name for what is to become `target`, distinct from that of any other process or task."""
    return target.with_name(f"{target.name}.{os.getpid()}.{secrets.token_hex(4)}")


def replace(target: Path, text: str, *, mode: int = 0o666) -> None:
    """Write a file, or replace it; `mode` is subject to the umask."""
    temporary = beside(target)
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        publish(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


def publish(finished: Path, target: Path) -> None:
    """Give a finished file or folder its name; a folder must not exist under it.

    Raises:
        OSError: it cannot be written or renamed.
    """
    for folder, _, names in os.walk(finished):
        for name in names:
            _sync(Path(folder, name))
        _sync(Path(folder))
    if not finished.is_dir():
        _sync(finished)
    finished.rename(target)
    _sync(target.parent)


def _sync(path: Path) -> None:
    if path.is_symlink():
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
