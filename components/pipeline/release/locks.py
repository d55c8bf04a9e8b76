"""The lock of a release: a function of its commits, the same on every machine and every day.

`nix flake lock --override-input` takes the inputs of the new app from the flake's old lock, and the
newest of those that are not in it (NixOS/nix#5433; mended in nix 2.30). `nix flake update INPUT`
takes them from the app's own lock, with every version of nix. Only what neither lock names would
still be the newest of the day, so it is refused.
"""

import asyncio
import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from ..errors import RefError, message
from . import nix
from .flake import Flake

_METHOD: Final = 2
"""A part of a lock's name in the cache: how it was made."""

Lock = Mapping[str, Any]


async def lock(flake: Flake, overrides: Mapping[str, str]) -> tuple[Path, str]:
    """The lock file of `flake` with inputs overridden, by name, and the SHA-256 of the file.

    It is made once, and cached by what it is made of.

    Raises:
        RefError: an input cannot be fetched, or has inputs that no lock pins.
    """
    made_of = [_METHOD, flake.identity, dict(overrides), await nix.version()]
    key = hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()[:32]
    file = nix.cache_folder() / "locks" / f"{key}.json"
    content = await asyncio.to_thread(_read, file)
    if content is None:
        await _make(flake, overrides, file)
        content = await asyncio.to_thread(file.read_bytes)
    return file, hashlib.sha256(content).hexdigest()


def _read(file: Path) -> bytes | None:
    """A lock file of our cache; None if it is missing, unreadable or damaged: it is made again."""
    try:
        content = file.read_bytes()
        parsed = json.loads(content)
    except (OSError, ValueError, RecursionError):
        return None
    return content if isinstance(parsed, dict) and "nodes" in parsed else None


async def _make(flake: Flake, overrides: Mapping[str, str], file: Path) -> None:
    async def check(partial: Path) -> None:
        made = json.loads(await asyncio.to_thread(partial.read_bytes))
        for name, url in overrides.items():
            if not list(_unpinned(made, name, flake.locks)):
                continue
            own = await nix.flake_lock(url)
            if unpinned := sorted(_unpinned(made, name, flake.locks, own or {})):
                raise RefError(_not_pinned(unpinned, url, has_lock=own is not None))

    await nix.lock(flake.url, overrides, file, check)


def _unpinned(made: Lock, name: str, *known: Lock) -> Iterator[str]:
    """The inputs of input `name`, as paths such as `app/lib`, that no known lock pins."""
    pinned = {_content(node) for one in known for node in one.get("nodes", {}).values()}
    for path, key in _inputs(made, name):
        node = made["nodes"][key]
        if path != name and "locked" in node and _content(node) not in pinned:
            yield path


def _inputs(made: Lock, name: str) -> Iterator[tuple[str, str]]:
    """The path and the node of an input of the root, and of all inputs below it, once each."""
    waiting = [(name, made["nodes"][made["root"]]["inputs"][name])]
    seen: set[str] = set()
    while waiting:
        path, key = waiting.pop(0)
        if not isinstance(key, str) or key in seen:  # a list follows another input
            continue
        seen.add(key)
        yield path, key
        below = made["nodes"][key].get("inputs", {})
        waiting += [(f"{path}/{each}", found) for each, found in below.items()]


def _content(node: Lock) -> str:
    """What a node is locked to; two nodes with the same content differ only in how it is fetched.

    A folder of the flake that names it (`path:./lib`) has no hash: its flake pins it.
    """
    locked = node.get("locked", {})
    if locked.get("type") == "path" and not str(locked.get("path", "/")).startswith("/"):
        return ""
    return str(locked.get("narHash") or json.dumps(locked, sort_keys=True))


def _not_pinned(paths: list[str], url: str, *, has_lock: bool) -> str:
    lacks = "neither the flake's flake.lock nor the app's says at which commit"
    detail = f"{', '.join(paths)}: {lacks}"
    what = "add what is missing to its flake.lock" if has_lock else "add a flake.lock"
    remedy = f"run `nix flake lock` in the app ({what}), commit it, and deploy that commit"
    return message("cannot lock the release", url, detail, remedy)
