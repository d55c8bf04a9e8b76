"""The nix (and git) commands of the pipeline: one function per operation, with its timeout.

Nix gets its own cache folder (NIX_CACHE_HOME, nix 2.24 and later): its evaluation cache does not
tell `--override-input` from `--reference-lock-file`, and would give wrong derivations to who uses
both. It also gets an empty data folder (NIX_DATA_HOME): the settings of flakes that this user has
once accepted for good are kept there (trusted-settings.json), and apply whatever
`accept-flake-config` says (2.26). The same release would be evaluated otherwise on another machine.
"""

import asyncio
import functools
import json
import os
from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from ..config.caches import Cache
from ..config.timeouts import DEFAULT_TIMEOUTS, Phase, Timeouts
from ..errors import OverdueError, ProcessError, RefError, message, printable
from ..process import files
from ..process.bounded import OBJECT_LIMIT
from ..process.run import OUTPUT_LIMIT, Argv, CompletedProcess, run
from ..values import StorePath
from .git import UNATTENDED

GIT_TIMEOUT = 10.0
VALID_MTIME = 1
"""The mtime that nix gives a path before it is valid (canonicalisePathMetaData)."""

NIX: Argv = (
    *("nix", "--extra-experimental-features", "nix-command flakes"),
    # Whoever can push to the flake, or to the app's, must not choose caches, builders and hooks.
    *("--option", "accept-flake-config", "false"),
)
MINIMUM = (2, 24)

_KEPT: Final = {
    Phase.FETCH: "what was fetched whole is kept",
    Phase.EVALUATE: "what was built meanwhile is kept in this machine's store",
    Phase.BUILD: "what was built whole is kept in this machine's store",
    Phase.COPY: "what the host has received whole is kept there",
}
"""What the next run need not do again."""

_timeouts: list[Timeouts] = [DEFAULT_TIMEOUTS]
_caches: list[Cache] = []
_version: list[str] = []


def configure(timeouts: Timeouts, caches: Iterable[Cache] = ()) -> None:
    """Use the config of the stack from now on: one process is one run of one stack."""
    _timeouts[:] = [timeouts]
    _caches[:] = caches


def cache_options() -> Argv:
    """The options for the stack's own caches, beside those of nix.conf.

    Every call gets them: an evaluation may build, and sources may come from a cache.
    """
    if not _caches:
        return ()
    urls = " ".join(cache.url.text for cache in _caches)
    keys = " ".join(cache.public_key.text for cache in _caches)
    return (
        "--option", "extra-substituters", urls,
        "--option", "extra-trusted-public-keys", keys,
    )  # fmt: skip


@functools.cache
def cache_folder() -> Path:
    """Our cache: locks, evaluations, nix's own caches."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(base) / "flakeup" / "nix"
    (folder / "locks").mkdir(parents=True, exist_ok=True)
    return folder


async def command(
    *args: str,
    phase: Phase = Phase.EVALUATE,
    env: Mapping[str, str] | None = None,
    check: bool = True,
    limit: int = OUTPUT_LIMIT,
) -> CompletedProcess:
    """Run one nix command with our cache folder; `limit` is that of `run`.

    Raises:
        OverdueError: it took longer than the config says for `phase`.
        ProcessError: as `run`.
    """
    folder = cache_folder()
    own = {"NIX_CACHE_HOME": str(folder / "cache"), "NIX_DATA_HOME": str(folder / "data")}
    environment = {**UNATTENDED, **own, **(env or {})}
    time, argv = _timeouts[0].of(phase), (*NIX, *cache_options(), *args)
    try:
        return await run(argv, timeout=time.seconds, env=environment, check=check, limit=limit)
    except OverdueError as error:
        remedy = f"set timeouts.{phase} to more than {time.text}; {_KEPT[phase]}"
        detail = f"timed out after {time.text}"
        raise OverdueError(argv=argv, code=None, detail=detail, remedy=remedy) from error


def is_present(path: StorePath) -> bool:
    """Whether this machine's store has the valid path; a stat, not a call of nix.

    A failed build may leave its output behind, but only valid paths have nix's mtime.
    """
    try:
        return Path(path.path).lstat().st_mtime == VALID_MTIME
    except OSError:
        return False


async def run_git(argv: Argv) -> str:
    """The output of a git command."""
    return (await run(argv, timeout=GIT_TIMEOUT)).text


async def version() -> str:
    """Nix's version, asked once per run.

    Raises:
        RefError: there is none, or it is older than 2.24, which lacks --output-lock-file or a
            cache folder of its own.
    """
    if not _version:
        try:
            text = (await command("--version", phase=Phase.FETCH)).text.rsplit(" ", 1)[-1]
        except ProcessError as error:
            remedy = error.remedy or "check its installation"
            msg = message("cannot run nix", "PATH", error.last_lines(1), remedy)
            raise RefError(msg) from error
        if tuple(int(part) for part in text.split(".")[:2] if part.isdigit()) < MINIMUM:
            wanted = ".".join(map(str, MINIMUM))
            detail = f"nix is {printable(text)}"
            raise RefError(message("nix is too old", "PATH", detail, f"install {wanted} or later"))
        _version.append(text)
    return _version[0]


async def metadata(url: str, *, where: str, remedy: str) -> dict[str, Any]:
    """`nix flake metadata --json`: fetches the flake; its identity and inputs.

    Raises:
        RefError: the flake cannot be fetched, or its flake.lock is not up to date.
    """
    args = ("flake", "metadata", "--json", "--no-update-lock-file", "--", url)
    try:
        answer = await command(*args, phase=Phase.FETCH, limit=OBJECT_LIMIT)
    except ProcessError as error:
        if "requires lock file changes" in error.detail:
            detail = "flake.lock lacks inputs that flake.nix names"
            remedy = "run `nix flake lock` there and commit flake.lock"
        else:
            detail, remedy = error.last_lines(6), error.remedy or remedy
        raise RefError(message("cannot read the flake", where, detail, remedy)) from error
    parsed: dict[str, Any] = json.loads(answer.stdout)
    return parsed


async def lock(
    url: str,
    overrides: Mapping[str, str],
    target: Path,
    check: Callable[[Path], Awaitable[None]],
) -> None:
    """Write the lock of `url`, with inputs overridden, to `target`, atomically and durably.

    `check` is called with the lock before it is kept, and may raise.

    Raises:
        RefError: an override cannot be fetched.
    """
    options = [arg for name, to in overrides.items() for arg in ("--override-input", name, to)]
    verb = ("update", *overrides, "--flake", url) if overrides else ("lock", "--", url)
    # Two refs of one run may be the same commit, so temporary files have distinct names.
    partial = files.beside(target)
    try:
        words = ("flake", verb[0], *options, "--output-lock-file", str(partial), *verb[1:])
        await command(*words, phase=Phase.FETCH)
        await check(partial)
    except ProcessError as error:
        where = ", ".join(overrides.values()) or url
        remedy = error.remedy or (
            "check that nix can fetch it: `nix flake metadata` of that URL says why"
        )
        msg = message("cannot lock the release", where, error.last_lines(6), remedy)
        raise RefError(msg) from error
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    await asyncio.to_thread(files.publish, partial, target)


async def flake_lock(url: str) -> dict[str, Any] | None:
    """The flake.lock of the flake at `url`, which is fetched; None if it has none.

    Raises:
        ProcessError: it cannot be fetched.
    """
    args = ("flake", "prefetch", "--json", "--", url)
    answer = await command(*args, phase=Phase.FETCH, limit=OBJECT_LIMIT)
    sources = Path(json.loads(answer.stdout)["storePath"])
    folder = parse_qs(urlsplit(url).query).get("dir", [""])[0]
    try:
        parsed = json.loads(await asyncio.to_thread((sources / folder / "flake.lock").read_bytes))
    except (OSError, ValueError, RecursionError):
        return None
    return parsed if isinstance(parsed, dict) else None
