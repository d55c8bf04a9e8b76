"""Binary caches that a flake names in its `nixConfig`, which is never taken: what a preview says.

Whoever can push to the flake would choose them. Without them nix builds what they have, which may
take hours, so they are worth a line.
"""

import asyncio
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from ..config.caches import Cache
from ..errors import FlakeupError, message, printable
from ..release import nix
from ..values.binary_cache import place_of

_NIX_CONFIG: Final = "nixConfig"
_NAMES: Final = ("substituters", "extra-substituters")
_SHOWN: Final = 5


async def ignored_caches(source: Path, caches: Iterable[Cache]) -> str | None:
    """The line for a flake whose sources are in `source`, which has flake.nix; mostly None.

    Nothing is started for a flake without a `nixConfig`.
    """
    file = source / "flake.nix"
    try:
        if _NIX_CONFIG not in await asyncio.to_thread(file.read_text, errors="replace"):
            return None
        named, own = await asyncio.gather(_named(file), _of_nix_conf())
    except (FlakeupError, OSError, ValueError, TypeError, AttributeError):
        return None  # another part of the run says what is wrong with the flake, or with nix
    known = {place_of(url) for url in own} | {cache.url.place for cache in caches}
    unknown = [printable(url, 100) for url in named if place_of(url) not in known]
    if not unknown:
        return None
    more = ", …" if len(unknown) > _SHOWN else ""
    return message(
        "the flake names caches that are not used",
        _NIX_CONFIG,
        ", ".join(unknown[:_SHOWN]) + more,
        "if you trust them, add them to `caches` or to nix.conf; else what they have is built",
    )


async def _named(file: Path) -> list[str]:
    argv = ("eval", "--json", "--file", str(file), "--apply", f"it: it.{_NIX_CONFIG} or {{ }}")
    found: dict[str, Any] = json.loads((await nix.command(*argv)).stdout)
    return [url for name in _NAMES for url in _words(found.get(name))]


async def _of_nix_conf() -> list[str]:
    done = await nix.command("config", "show", "--json")
    found: dict[str, Any] = json.loads(done.stdout)
    return _words(found["substituters"]["value"])


def _words(value: object) -> list[str]:
    """The URLs in a setting, which is a text or a list."""
    if isinstance(value, list):
        return [str(one) for one in value]
    return str(value).split() if value else []
