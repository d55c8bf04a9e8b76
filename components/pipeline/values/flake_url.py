"""Where a flake is: the forms of a flake url that can be pinned, and what each is refused for.

A url names a place, never a revision: `flakeRef` does that. What nix would look up in a registry
of the machine (`nixpkgs`), fetch without git (`tarball+https:`) or run (`git+ext:`) is refused.
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Self

from .names import MAX_PORT, HostAddress, InvalidValue, UserName, check_characters

MAX_URL: Final = 400

_SEGMENT: Final = re.compile(r"[A-Za-z0-9._+~=][A-Za-z0-9._+~=-]*")
_AUTHORITY: Final = re.compile(
    r"(?:(?P<user>[^@/]*)@)?(?:\[(?P<ipv6>[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*)\]|(?P<name>[^:/@]*))(?::(?P<port>[0-9]{1,5}))?"
)
_REGISTRY_REMEDY: Final = (
    "write where it is: ./flake for a folder of this repository, or github:owner/repo"
)


class FlakeKind(StrEnum):
    """How nix gets at a flake."""

    FOLDER = "folder"
    """A folder of this repository: `./flake`."""
    PATH = "path"
    """A folder elsewhere on the machine that runs the program: `/srv/flake`."""
    GIT = "git"
    """A git repository: `git+https://host/repo.git`, `git+ssh:`, `git+file:`."""
    GITHUB = "github"
    GITLAB = "gitlab"

    @property
    def is_pinned_by_ref(self) -> bool:
        """Whether a commit identifies it; else the content of its folder does."""
        return self not in {FlakeKind.FOLDER, FlakeKind.PATH}


@dataclass(frozen=True, slots=True, kw_only=True)
class FlakeUrl:
    """A flake without its revision.

    `base` by kind: folder `flake` (relative to the program), path `/srv/flake`,
    git `git+https://host/x.git`, github and gitlab `github:owner/repo`.
    `dir` is the folder of flake.nix in it, or empty; `host` another GitLab than gitlab.com.
    """

    kind: FlakeKind
    base: str
    dir: str = ""
    host: HostAddress | None = None

    @property
    def text(self) -> str:
        """The url as its user writes it."""
        base = f"./{self.base}" if self.kind is FlakeKind.FOLDER else self.base
        host = "" if self.host is None else f"host={self.host.text}"
        query = "&".join(part for part in (f"dir={self.dir}" if self.dir else "", host) if part)
        return f"{base}?{query}" if query else base

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse a flake url, or raise InvalidValue."""
        if "#" in text:
            msg = "has a '#'"
            raise InvalidValue(
                msg, remedy="leave out what follows it: each host's `attr` says what is built"
            )
        check_characters(text, "A-Za-z0-9._+@~=:/?&\\[\\]-", limit=MAX_URL)
        place, mark, query = text.partition("?")
        kind, base = _place(place)
        options = _options(query, kind) if mark else {}
        return cls(
            kind=kind,
            base=base,
            dir=_relative(options["dir"], "dir=") if "dir" in options else "",
            host=_host(options["host"]) if "host" in options else None,
        )


def _place(place: str) -> tuple[FlakeKind, str]:
    """Tell the kind of a url without its query, and give its base."""
    scheme, colon, rest = place.partition(":")
    if place.startswith("/"):
        return FlakeKind.PATH, _absolute(place)
    if place in {".", ".."} or place.startswith(("./", "../")):
        return FlakeKind.FOLDER, _folder(place)
    if not colon:
        msg = "is a name that nix would look up in a registry of the machine"
        raise InvalidValue(msg, remedy=_REGISTRY_REMEDY)
    match scheme:
        case "path":
            return FlakeKind.PATH, _path(rest)
        case "github" | "gitlab":
            return FlakeKind(scheme), f"{scheme}:{_owner_and_repo(scheme, rest)}"
        case "git+file":
            return FlakeKind.GIT, _git_file(rest)
        case "git+https" | "git+http" | "git+ssh" | "git+git":
            return FlakeKind.GIT, f"{scheme}://{_git_remote(scheme, rest)}"
        case "http" | "https" | "ssh" | "git" | "file":
            msg = f"has the scheme {scheme}:"
            raise InvalidValue(
                msg,
                remedy=f"write git+{'https' if scheme == 'http' else scheme}: for a git repository",
            )
        case _:
            msg = "has a scheme that flakeup does not take"
            raise InvalidValue(msg, sample=f"{scheme}:")


def _folder(place: str) -> str:
    return _relative("" if place == "." else place.removeprefix("./"), "the folder")


def _path(rest: str) -> str:
    if not rest.startswith("/"):
        msg = "is path: with a relative path"
        raise InvalidValue(
            msg, remedy="write ./flake for a folder of this repository, or an absolute path"
        )
    return _absolute(rest)


def _absolute(path: str) -> str:
    return "/" + _relative(path.removeprefix("/"), "the path")


def _relative(path: str, what: str) -> str:
    """Check each part of a path; a `/` at its end is dropped."""
    path = path.removesuffix("/")
    if not path:
        msg = f"{what} has no name"
        raise InvalidValue(msg)
    for segment in path.split("/"):
        if segment in {"", ".", ".."}:
            msg = f"{what} has an empty part, '.' or '..'"
            raise InvalidValue(msg)
        if not _SEGMENT.fullmatch(segment):
            msg = f"{what} has a part that starts with '-', or has a character not allowed in it"
            raise InvalidValue(msg)
    return path


def _owner_and_repo(scheme: str, rest: str) -> str:
    parts = rest.split("/")
    if len(parts) > 2 and scheme == "github":  # noqa: PLR2004 owner and repo
        msg = "has a revision in it"
        raise InvalidValue(msg, remedy="write github:owner/repo, and the revision as `flakeRef`")
    if len(parts) != 2:  # noqa: PLR2004 owner and repo
        msg = f"is not {scheme}:owner/repo"
        raise InvalidValue(
            msg,
            remedy="write the revision as `flakeRef`, and a repository in a subgroup as git+https:",
        )
    return _relative(rest, f"{scheme}:")


def _git_file(rest: str) -> str:
    if not rest.startswith("///"):
        msg = "is not git+file:///absolute/path"
        raise InvalidValue(msg, remedy="write three slashes and an absolute path")
    return f"git+file://{_absolute(rest[2:])}"


def _git_remote(scheme: str, rest: str) -> str:
    """Check `//user@host:port/path` of a repository that is not local."""
    authority, slash, path = rest.removeprefix("//").partition("/")
    found = _AUTHORITY.fullmatch(authority)
    if not rest.startswith("//") or not slash or not found or not (found["ipv6"] or found["name"]):
        msg = f"is not {scheme}://host/path"
        raise InvalidValue(msg)
    if (user := found["user"]) is not None:
        _check_user(scheme, user)
    if found["port"] and not 1 <= int(found["port"]) <= MAX_PORT:
        msg = f"has a port that is not in 1 to {MAX_PORT}"
        raise InvalidValue(msg)
    address = _host(found["ipv6"] or found["name"])
    if scheme in {"git+http", "git+git"} and not address.is_loopback:
        msg = f"{scheme}: carries the flake without any proof of where it comes from"
        raise InvalidValue(msg, remedy="write git+https: or git+ssh:")
    return f"{authority}/{_relative(path, 'the path')}"


def _check_user(scheme: str, user: str) -> None:
    if scheme != "git+ssh" or ":" in user:
        msg = "has a user or a password in it"
        raise InvalidValue(
            msg,
            remedy="leave it out: git asks its credential helper or netrc, and ssh uses keys",
        )
    try:
        UserName.parse(user)
    except InvalidValue as error:
        msg = f"the user {error.why}"
        raise InvalidValue(msg) from None


def _host(text: str) -> HostAddress:
    try:
        return HostAddress.parse(text)
    except InvalidValue as error:
        msg = f"the host {error.why}"
        raise InvalidValue(msg) from None


def _options(query: str, kind: FlakeKind) -> dict[str, str]:
    options: dict[str, str] = {}
    for part in query.split("&"):
        name, _, value = part.partition("=")
        if name in {"ref", "rev"}:
            msg = f"has {name}= in it"
            raise InvalidValue(
                msg, remedy="write it as `flakeRef`, where it is checked and recorded"
            )
        if name != "dir" and not (name == "host" and kind is FlakeKind.GITLAB):
            msg = "has an option other than dir= (and host= after gitlab:)"
            raise InvalidValue(msg, sample=name)
        if name in options:
            msg = f"has {name}= twice"
            raise InvalidValue(msg)
        options[name] = value
    return options
