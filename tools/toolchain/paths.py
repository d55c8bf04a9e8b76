"""The folders of the toolchain, and the keys in their names."""

import hashlib
import os
import tempfile
from pathlib import Path
from typing import Final

PROJECT: Final = Path(__file__).resolve().parents[2]
TOOLS: Final = PROJECT / "tools"
CACHE: Final = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "flakeup"
TOOLCHAIN: Final = CACHE / "toolchain"
LOGS: Final = TOOLCHAIN / "logs"
UNFINISHED: Final = TOOLCHAIN / ".unfinished"
VENV: Final = PROJECT / ".venv"


def key(*recipe: str | Path) -> str:
    """Twelve hex digits that change with the recipe: texts, files and folders."""
    digest = hashlib.sha256()
    for item in recipe:
        for name, content in _contents(item):
            digest.update(f"{name}\0{len(content)}\0".encode())
            digest.update(content)
    return digest.hexdigest()[:12]


def _contents(item: str | Path) -> list[tuple[str, bytes]]:
    if isinstance(item, str):
        return [("", item.encode())]
    if item.is_dir():
        files = sorted(path for path in item.rglob("*") if path.is_file())
        return [(str(path.relative_to(item)), path.read_bytes()) for path in files]
    return [(item.name, item.read_bytes())]


def write(path: Path, text: str, *, mode: int = 0o644) -> None:
    """Write a file atomically, unless it has this content already."""
    if path.is_file() and path.read_text() == text:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    # A name of its own, as several threads may write the same file.
    number, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    fresh = Path(name)
    try:
        with os.fdopen(number, "w") as file:
            file.write(text)
        fresh.chmod(mode)
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)
