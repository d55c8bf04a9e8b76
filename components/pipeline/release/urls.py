"""The URLs of flakes and of their inputs: for git, and at a commit for nix."""

import json
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote, unquote

from ..errors import RefError, message
from ..values import FlakeKind, FlakeUrl, InvalidValue, Ref
from ..values.flake_url import GIT_OPTIONS, with_query
from .flake import Flake
from .git import Pin
from .sources import Sources

GIT_HOSTS: Final = {
    FlakeKind.GITHUB: "github.com",
    FlakeKind.GITLAB: "gitlab.com",
    FlakeKind.SOURCEHUT: "git.sr.ht",
}
_PLACE: Final = {
    "git": {"url"},
    "github": {"owner", "repo", "host"},
    "gitlab": {"owner", "repo", "host"},
    "sourcehut": {"owner", "repo", "host"},
}
"""The attributes of an input that say where it is, by its type (nix manual, "flake references")."""


def git_remote(flake: FlakeUrl) -> str:
    """The remote for `git ls-remote`."""
    if flake.kind is FlakeKind.GIT:
        return flake.base.removeprefix("git+")
    host = flake.host.text if flake.host else GIT_HOSTS[flake.kind]
    place = unquote(flake.base.split(":", 1)[1])
    return f"https://{host}/{place}" + ("" if flake.kind is FlakeKind.SOURCEHUT else ".git")


def folder_url(sources: Sources, flake: FlakeUrl) -> str:
    """The URL of a flake's sources in our cache."""
    return with_query(f"path:{quote(str(sources.folder))}", {"dir": flake.dir} if flake.dir else {})


def locked_url(flake: FlakeUrl, pin: Pin) -> str:
    """The URL of `flake` at a commit, in nix's form for its kind of host."""
    query = {"dir": flake.dir} if flake.dir else {}
    if flake.kind is FlakeKind.GIT:
        # Nix knows git's own protocol as `git:` only.
        base = flake.base.removeprefix("git+") if flake.base.startswith("git+git:") else flake.base
        return with_query(base, query | _git_query(flake, pin) | {"rev": pin.rev.text})
    host = {"host": flake.host.text} if flake.host else {}
    return with_query(f"{flake.base}/{pin.rev.text}", query | host)


def _git_query(flake: FlakeUrl, pin: Pin) -> dict[str, str]:
    options = dict(flake.options)
    # Without a ref nix looks for the commit on the default branch only.
    if pin.full is None or options.get("allRefs") == "1":
        return options | {"allRefs": "1"}
    return options | {"ref": pin.full}


def input_url(flake: Flake, name: str, ref: Ref) -> FlakeUrl:
    """The app input as a URL that has refs (lock file schema: nix flake manual).

    Raises:
        RefError: there is none, or a ref does not go with what flake.nix says of it.
    """
    original = _original(flake, name, ref)
    kind = str(original.get("type"))
    if kind not in _PLACE:
        detail = f"the flake's input {name} is of type {kind}: it has no refs"
        remedy = "give it a git+https:, git+ssh:, github:, gitlab: or sourcehut: URL in flake.nix"
        raise RefError(message("nothing to pin", "appRef", detail, remedy))
    options = {"dir"} | (set(GIT_OPTIONS) if kind == "git" else set())
    if other := sorted(original.keys() - options - _PLACE[kind] - {"type", "ref", "rev"}):
        detail = f"flake.nix gives it {', '.join(other)}, which does not go with another commit"
        remedy = "remove that from the input, or remove appRef"
        raise RefError(message("unusable input", f"the flake's input {name}", detail, remedy))
    kept = {key: _text(original[key]) for key in (*sorted(options), "host") if key in original}
    place = _place(kind, original)
    query = with_query("", kept)
    text = place + (query.replace("?", "&", 1) if "?" in place else query)
    try:
        return FlakeUrl.parse(text)
    except InvalidValue as error:
        where = f"the flake's input {name}"
        raise RefError(message("unusable URL", where, f"{text} {error}", error.remedy)) from error


def _original(flake: Flake, name: str, ref: Ref) -> Mapping[str, Any]:
    original = flake.inputs.get(name)
    if original is not None:
        return original
    followed = flake.follows.get(name)
    known = ", ".join(sorted({*flake.inputs, *flake.follows})) or "none"
    if followed:
        detail = f"the flake's input {name} follows {followed}"
        remedy = f"give {name} a URL of its own in flake.nix, or set appInput to what it follows"
    else:
        detail = f"the flake has no input {name} (its inputs: {known})"
        remedy = "set appInput to the one that holds the app, or remove appRef"
    raise RefError(message("nothing to pin", f"appRef {ref.text}", detail, remedy))


def _place(kind: str, original: Mapping[str, Any]) -> str:
    if kind == "git":
        return f"git+{original.get('url')}"
    owner = str(original.get("owner")).replace("/", "%2F")
    return f"{kind}:{owner}/{original.get('repo')}"


def _text(value: object) -> str:
    """An attribute of an input as nix writes it in a URL."""
    if isinstance(value, bool):
        return "1" if value else "0"
    return value if isinstance(value, str) else json.dumps(value)
