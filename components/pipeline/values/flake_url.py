"""Where a flake is: the forms of a flake url that can be pinned, and what each is refused for.

A url names a place, never a revision: `flakeRef` does that. What nix would look up in a registry
of the machine (`nixpkgs`), fetch without git (`tarball+https:`) or run (`git+ext:`) is refused.
The forms are those of nix's manual ("nix3-flake", flake references); options of git are kept, since
they decide what nix fetches.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Self
from urllib.parse import quote, unquote

from .names import MAX_PORT, HostAddress, InvalidValue, check_characters

MAX_URL: Final = 2000

_SEGMENT: Final = re.compile(r"[A-Za-z0-9._+~=][A-Za-z0-9._+~=-]*")
_ESCAPED_SEGMENT: Final = re.compile(r"(?!-)(?:[A-Za-z0-9._+~=-]|%[0-9A-Fa-f]{2})+")
_USER: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,63}")
_FLAGS: Final = ("submodules", "lfs", "shallow", "exportIgnore", "allRefs", "verifyCommit")
"""Options of git that are on (`1`) or off (`0`)."""
_KEY_TYPE: Final = re.compile(r"[a-z0-9][a-z0-9@.-]{0,63}")
_PUBLIC_KEY: Final = re.compile(r"[A-Za-z0-9+/]{16,1000}={0,2}")
GIT_OPTIONS: Final = (*_FLAGS, "keytype", "publicKey", "publicKeys")
"""What nix may be told of a git repository, besides its place and revision (nix manual)."""
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
    SOURCEHUT = "sourcehut"

    @property
    def is_pinned_by_ref(self) -> bool:
        """Whether a commit identifies it; else the content of its folder does."""
        return self not in {FlakeKind.FOLDER, FlakeKind.PATH}


@dataclass(frozen=True, slots=True, kw_only=True)
class FlakeUrl:
    """A flake without its revision.

    `base` by kind: folder `flake` (relative to the program), path `/srv/flake`,
    git `git+https://host/x.git`, github, gitlab and sourcehut `github:owner/repo`. A character that
    a URL cannot hold is written as %XX in it.
    `dir` is the folder of flake.nix in it, or empty; `host` another server than github.com,
    gitlab.com or git.sr.ht; `options` are git's, by name, such as `submodules`.
    """

    kind: FlakeKind
    base: str
    dir: str = ""
    host: HostAddress | None = None
    options: tuple[tuple[str, str], ...] = ()

    @property
    def text(self) -> str:
        """The url as its user writes it."""
        is_below = self.kind is FlakeKind.FOLDER and self.base.split("/")[0] not in {".", ".."}
        base = f"./{self.base}" if is_below else self.base
        place = {"dir": self.dir, "host": self.host.text if self.host else ""}
        query = {name: value for name, value in place.items() if value} | dict(self.options)
        return with_query(base, query)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse a flake url, or raise InvalidValue."""
        if "#" in text:
            msg = "has a '#'"
            raise InvalidValue(
                msg, remedy="leave out what follows it: each host's `attr` says what is built"
            )
        check_characters(text, "A-Za-z0-9._+@~=:/?&%\\[\\]-", limit=MAX_URL)
        place, mark, query = text.partition("?")
        kind, base = _place(place)
        options = _options(query, kind) if mark else {}
        return cls(
            kind=kind,
            base=base,
            dir=_dir(options.pop("dir")) if "dir" in options else "",
            host=_host(options.pop("host")) if "host" in options else None,
            options=tuple(sorted((name, _option(name, it)) for name, it in options.items())),
        )


def with_query(base: str, query: Mapping[str, str]) -> str:
    """A url with options, whose values are escaped."""
    options = "&".join(f"{name}={quote(value, safe='/+@=~:')}" for name, value in query.items())
    return f"{base}?{options}" if options else base


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
        case "github" | "gitlab" | "sourcehut":
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
    """Check a path relative to the program: `.`, `flake`, or one that begins with `..`."""
    place = place.removesuffix("/")
    if place == ".":
        return place
    above = re.match(r"(?:\.\./)*\.\.(?=/|$)", place)
    if above and above[0] == place:
        return place
    up = f"{above[0]}/" if above else ""
    return up + _relative(place.removeprefix(up or "./"), "the folder")


def _path(rest: str) -> str:
    if not rest.startswith("/"):
        msg = "is path: with a relative path"
        raise InvalidValue(
            msg, remedy="write ./flake for a folder of this repository, or an absolute path"
        )
    return _absolute(rest)


def _absolute(path: str) -> str:
    return "/" + _relative(path.removeprefix("/"), "the path")


def _relative(path: str, what: str, form: re.Pattern[str] = _SEGMENT) -> str:
    """Check each part of a path, which has that form; a `/` at its end is dropped."""
    path = path.removesuffix("/")
    if not path:
        msg = f"{what} has no name"
        raise InvalidValue(msg)
    for segment in path.split("/"):
        if segment in {"", ".", ".."}:
            msg = f"{what} has an empty part, '.' or '..'"
            raise InvalidValue(msg)
        if not form.fullmatch(segment) or not _is_plain(segment):
            msg = f"{what} has a part that starts with '-', or has a character not allowed in it"
            raise InvalidValue(msg)
    return path


def _is_plain(segment: str) -> bool:
    """Whether what is escaped in a part of a path is one printable part, and no option."""
    plain = unquote(segment, errors="replace")
    is_one_part = "/" not in plain and plain not in {".", ".."}
    return is_one_part and plain.isprintable() and "\ufffd" not in plain and plain[0] != "-"


def _dir(path: str) -> str:
    return _relative(path.removeprefix("./"), "dir=")


def _owner_and_repo(scheme: str, rest: str) -> str:
    parts = rest.split("/")
    if len(parts) > 2 and scheme == "github":  # noqa: PLR2004 owner and repo
        msg = "has a revision in it"
        raise InvalidValue(msg, remedy="write github:owner/repo, and the revision as `flakeRef`")
    if len(parts) != 2:  # noqa: PLR2004 owner and repo
        msg = f"is not {scheme}:owner/repo"
        raise InvalidValue(
            msg,
            remedy="write the revision as `flakeRef`"
            + (", and the slashes between subgroups as %2F" if scheme == "gitlab" else ""),
        )
    if scheme == "gitlab":
        owner, repo = parts
        groups = re.split("%2F", owner, flags=re.IGNORECASE)
        return "/".join((_relative("/".join(groups), "the group").replace("/", "%2F"), repo))
    return _relative(rest, f"{scheme}:")


def _git_file(rest: str) -> str:
    if not rest.startswith("///"):
        msg = "is not git+file:///absolute/path"
        raise InvalidValue(msg, remedy="write three slashes and an absolute path")
    path = _relative(rest.removeprefix("///"), "the path", _ESCAPED_SEGMENT)
    return f"git+file:///{path}"


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
    return f"{authority}/{_relative(path, 'the path', _ESCAPED_SEGMENT)}"


def _check_user(scheme: str, user: str) -> None:
    if scheme != "git+ssh" or ":" in user:
        msg = "has a user or a password in it"
        raise InvalidValue(
            msg,
            remedy="leave it out: git asks its credential helper or netrc, and ssh uses keys",
        )
    if not _USER.fullmatch(user):
        msg = "the user has a character that is not allowed here"
        raise InvalidValue(msg)


def _host(text: str) -> HostAddress:
    try:
        return HostAddress.parse(text)
    except InvalidValue as error:
        msg = f"the host {error.why}"
        raise InvalidValue(msg) from None


def _options(query: str, kind: FlakeKind) -> dict[str, str]:
    options: dict[str, str] = {}
    allowed = _allowed_options(kind)
    for part in query.split("&"):
        name, _, value = part.partition("=")
        if name in {"ref", "rev"}:
            msg = f"has {name}= in it"
            raise InvalidValue(
                msg, remedy="write it as `flakeRef`, where it is checked and recorded"
            )
        if name not in allowed:
            msg = "has an option that does not go with it"
            raise InvalidValue(msg, sample=name, remedy=f"it takes {', '.join(allowed)}")
        if name in options:
            msg = f"has {name}= twice"
            raise InvalidValue(msg)
        options[name] = unquote(value, errors="replace")
    return options


def _allowed_options(kind: FlakeKind) -> tuple[str, ...]:
    match kind:
        case FlakeKind.GIT:
            return ("dir", *GIT_OPTIONS)
        case FlakeKind.GITHUB | FlakeKind.GITLAB | FlakeKind.SOURCEHUT:
            return ("dir", "host")
        case FlakeKind.FOLDER | FlakeKind.PATH:
            return ("dir",)


def _option(name: str, value: str) -> str:
    """Check the value of one of git's options."""
    if name in _FLAGS:
        is_valid, form = value in {"0", "1"}, "0 or 1"
    elif name == "keytype":
        is_valid, form = bool(_KEY_TYPE.fullmatch(value)), "the type of an ssh key"
    elif name == "publicKey":
        is_valid, form = bool(_PUBLIC_KEY.fullmatch(value)), "a public key in base64"
    else:
        is_valid, form = _are_public_keys(value), 'a JSON list of {"type": …, "key": …}'
    if not is_valid:
        msg = f"{name}= is not {form}"
        raise InvalidValue(msg)
    return value


def _are_public_keys(text: str) -> bool:
    try:
        keys = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return isinstance(keys, list) and all(
        isinstance(one, dict)
        and one.keys() == {"type", "key"}
        and _KEY_TYPE.fullmatch(str(one["type"]))
        and _PUBLIC_KEY.fullmatch(str(one["key"]))
        for one in keys
    )
