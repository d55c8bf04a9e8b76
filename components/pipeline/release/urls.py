"""The URLs of flakes and of their inputs: for git, and at a commit for nix."""

from ..errors import RefError, message
from ..values import FlakeKind, FlakeUrl, InvalidValue, Ref
from .flake import Flake
from .git import Pin

GIT_HOSTS = {FlakeKind.GITHUB: "github.com", FlakeKind.GITLAB: "gitlab.com"}


def git_remote(flake: FlakeUrl) -> str:
    """The remote for `git ls-remote`."""
    if flake.kind is FlakeKind.GIT:
        return flake.base.removeprefix("git+")
    host = flake.host.text if flake.host else GIT_HOSTS[flake.kind]
    return f"https://{host}/{flake.base.split(':', 1)[1]}.git"


def locked_url(flake: FlakeUrl, pin: Pin) -> str:
    """The URL of `flake` at a commit, in nix's form for its kind of host."""
    query = {"dir": flake.dir} if flake.dir else {}
    if flake.kind is FlakeKind.GIT:
        # Without a ref nix looks for the commit on the default branch only.
        ref = {"ref": pin.full} if pin.full else {"allRefs": "1"}
        # Nix knows git's own protocol as `git:` only.
        base = flake.base.removeprefix("git+") if flake.base.startswith("git+git:") else flake.base
        return _with_query(base, query | ref | {"rev": pin.rev.text})
    host = {"host": flake.host.text} if flake.host else {}
    return _with_query(f"{flake.base}/{pin.rev.text}", query | host)


def _with_query(base: str, query: dict[str, str]) -> str:
    options = "&".join(f"{key}={value}" for key, value in query.items())
    return f"{base}?{options}" if options else base


def input_url(flake: Flake, name: str, ref: Ref) -> FlakeUrl:
    """The app input as a URL that has refs (lock file schema: nix flake manual)."""
    original = flake.inputs.get(name)
    if original is None:
        known = ", ".join(sorted(flake.inputs)) or "none"
        detail = f"the flake has no input {name} (its inputs: {known})"
        remedy = "set appInput to the one that holds the app, or remove appRef"
        raise RefError(message("nothing to pin", f"appRef {ref.text}", detail, remedy))
    query = "&".join(f"{key}={original[key]}" for key in ("dir", "host") if key in original)
    match original:
        case {"type": "git", "url": str(url)}:
            text = f"git+{url}"
        case {"type": "github" | "gitlab" as kind, "owner": owner, "repo": repo}:
            text = f"{kind}:{owner}/{repo}"
        case _:
            detail = f"the flake's input {name} is of type {original.get('type')}: it has no refs"
            remedy = "give it a git+https:, git+ssh:, github: or gitlab: URL in flake.nix"
            raise RefError(message("nothing to pin", "appRef", detail, remedy))
    try:
        return FlakeUrl.parse(f"{text}?{query}" if query else text)
    except InvalidValue as error:
        where = f"the flake's input {name}"
        raise RefError(message("unusable URL", where, f"{text} {error}", error.remedy)) from error
