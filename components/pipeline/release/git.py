"""Resolves refs on git remotes with `git ls-remote`, so that nix only gets commits.

Nix resolves tags by name in local repositories but not on real remotes (NixOS/nix#5291), and
prefers the branch if a name is both.
"""

import difflib
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from ..errors import ProcessError, RefError, message
from ..process.bounded import OBJECT_LIMIT
from ..process.run import Argv, run
from ..values import Ref, Rev

TIMEOUT = 30.0
"""Seconds for one request to a git server."""

UNATTENDED: Final = {
    "GIT_TERMINAL_PROMPT": "0",
    "GCM_INTERACTIVE": "never",
    # A program that asks in a window (SSH_ASKPASS, GIT_ASKPASS, core.askPass) finds no display, not
    # even the default one that it would take without these variables; one that does not ask works.
    "DISPLAY": "",
    "WAYLAND_DISPLAY": "",
}
"""What keeps git, and whatever it starts, from waiting for a person; no process has a terminal.

Nothing here chooses how git connects: GIT_SSH_COMMAND, GIT_SSH, `core.sshCommand`, ssh's own config
and credential helpers are the user's, and a GIT_SSH_COMMAND of ours would hide all of them.
"""
_C_LOCALE: Final = {"LC_ALL": "C"}
"""Git translates its messages; `_reason` reads them."""
_SAYS_NOTHING: Final = re.compile(
    r"\s*|(remote:|ERROR:)?[\s=*-]*"
    r"|fatal: Could not read from remote repository\."
    r"|Please make sure you have the correct access rights|and the repository exists\."
    r"|fatal: the remote end hung up unexpectedly"
    r"|Warning: Permanently added .*|Disconnected from .*"
)
"""Lines that git prints after any failure, and decoration."""


class RefKind(StrEnum):
    """What a ref is; only a branch may move between two releases."""

    TAG = "tag"
    BRANCH = "branch"
    COMMIT = "commit"
    OTHER = "ref"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin:
    """A ref as configured, and its commit."""

    ref: Ref | None
    kind: RefKind
    rev: Rev
    full: str | None
    """`refs/tags/v1`; None for a bare commit, which the remote may not advertise."""


def ls_remote(remote: str, *patterns: str) -> Argv:
    """The command that lists the matching refs of a remote."""
    return ("git", "ls-remote", "--quiet", "--", remote, *patterns)


async def resolve(remote: str, ref: Ref | None, *, key: str) -> Pin:
    """Resolve `ref` on `remote`; None is its HEAD. `key` is the config key, for messages.

    Raises:
        RefError: the server does not answer, the ref does not exist, or is both tag and branch.
    """
    if ref is not None and ref.is_commit:
        return Pin(ref=ref, kind=RefKind.COMMIT, rev=Rev.parse(ref.text), full=None)
    names = _candidates(ref)
    advertised = await _ask(remote, key, *names, *(f"{name}^{{}}" for name in names))
    found = [name for name in names if name in advertised]
    if not found:
        raise await _missing(remote, ref, key)
    if len(found) > 1:
        raise RefError(_ambiguous(remote, ref, key))
    name = found[0]
    # An annotated tag is an object itself; `^{}` is the commit that it points to.
    rev = advertised.get(f"{name}^{{}}", advertised[name])
    return Pin(ref=ref, kind=_kind(name), rev=rev, full=None if name == "HEAD" else name)


def _candidates(ref: Ref | None) -> tuple[str, ...]:
    if ref is None:
        return ("HEAD",)
    if ref.text.startswith("refs/"):
        return (ref.text,)
    return (f"refs/tags/{ref.text}", f"refs/heads/{ref.text}")


def _kind(name: str) -> RefKind:
    if name.startswith("refs/tags/"):
        return RefKind.TAG
    if name.startswith("refs/heads/") or name == "HEAD":
        return RefKind.BRANCH
    return RefKind.OTHER


async def _ask(remote: str, key: str, *patterns: str) -> dict[str, Rev]:
    try:
        answer = await run(
            ls_remote(remote, *patterns),
            timeout=TIMEOUT,
            env={**UNATTENDED, **_C_LOCALE},
            limit=OBJECT_LIMIT,
        )
    except ProcessError as error:
        msg = message(
            "cannot ask the git server",
            f"{key} on {remote}",
            _reason(error),
            error.remedy
            or "check the URL, the network and your git credentials "
            f"(`git ls-remote {remote}` must answer without a prompt)",
        )
        raise RefError(msg) from error
    return dict(_parse(line) for line in answer.text.splitlines())


def _parse(line: str) -> tuple[str, Rev]:
    rev, _, name = line.partition("\t")
    try:
        return name, Rev.parse(rev)
    except ValueError as error:
        msg = message("unusable answer of a git server", name, str(error), "ask its operator")
        raise RefError(msg) from error


def _reason(error: ProcessError) -> str:
    """Why git failed: the last words of ssh, curl or the server, with which git does not end."""
    lines = [x.strip() for x in error.detail.splitlines() if not _SAYS_NOTHING.fullmatch(x)]
    if not lines:
        return error.last_lines(1)
    said = [line for line in lines[:-1] if line.startswith("remote: ")]
    return f"{lines[-1]} ({said[-1]})" if said and lines[-1].startswith("fatal: ") else lines[-1]


async def _missing(remote: str, ref: Ref | None, key: str) -> RefError:
    advertised = await _ask(remote, key, "refs/tags/*", "refs/heads/*")
    names = {name.split("/", 2)[2] for name in advertised if not name.endswith("^{}")}
    wanted = "HEAD" if ref is None else ref.text
    near = difflib.get_close_matches(wanted, sorted(names), n=1)
    hint = f"did you mean {near[0]}?" if near else "push it, or name one that is there"
    return RefError(message("no such ref", f"{key} on {remote}", f"{wanted} is not there", hint))


def _ambiguous(remote: str, ref: Ref | None, key: str) -> str:
    name = "HEAD" if ref is None else ref.text
    return message(
        "ambiguous ref",
        f"{key} on {remote}",
        f"{name} is both a tag and a branch",
        f"write refs/tags/{name} or refs/heads/{name}",
    )
