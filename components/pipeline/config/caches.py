"""The binary caches of a stack, beside those of nix.conf."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Final

from ..values import CacheKey, CacheUrl
from .schema import Key, Table
from .section import SECRET, Section, is_too_large, not_a, shown

MAX_CACHES: Final = 16
MAX_SHOWN: Final = 90


@dataclass(frozen=True, slots=True, kw_only=True)
class Cache:
    """A binary cache, and the key with which what is in it is signed."""

    url: Annotated[
        CacheUrl,
        Key(
            "Where it is: `https:`, `http:`, `s3:` or `file:`, as nix takes it. A password belongs "
            "in nix's `netrc-file`, keys of S3 in the AWS files of the user that nix runs as.",
            takes="the url of a binary cache",
            write="write https://cache.example.org, s3://bucket?region=eu-west-1 or file:///path",
            limits="at most 400 of `A-Z a-z 0-9 . _ ~ / : ? & = % + , -`; no user or password; of "
            "nix's options `priority`, `want-mass-query`, `region`, `profile`, `endpoint` and "
            "`scheme`",
        ),
    ]
    public_key: Annotated[
        CacheKey,
        Key(
            "The public key of its signatures; nix takes nothing from it that is not signed.",
            takes="a public key of nix",
            write="write the key as its owner publishes it: cache.example.org-1:BASE64",
            limits="a name, `:`, and 32 bytes in base64",
        ),
    ]


CACHE: Final = Table(
    Cache,
    "Binary caches of this stack: nix takes what they have in place of building it, as it does "
    "from those of nix.conf. The `nixConfig` of a flake is never taken: a preview says which "
    "caches it names that are in neither. If a Nix daemon runs the builds, it takes these from "
    "users in its `trusted-users` only, and `up` says so.",
)


def read_caches(section: Section, key: Key) -> tuple[Cache, ...] | None:
    """Read the list of caches; None if it is not set, or has a problem (reported then)."""
    items = section.read_list(key.name)
    if items is None or is_too_large(section, key.name, items, MAX_CACHES, "caches"):
        return None
    before = len(section.problems)
    found = [_cache(section, f"{key.name}[{index}]", item, key) for index, item in enumerate(items)]
    return None if len(section.problems) > before else tuple(it for it in found if it)


def _cache(section: Section, path: str, item: object, key: Key) -> Cache | None:
    if not isinstance(item, Mapping):
        value = SECRET if section.is_hidden(key.name) else shown(item)
        section.reject_value(path, value, not_a("a map", item), key.write)
        return None
    # The secret key, which is twice as long, is in no message.
    secrets = {"publicKey"} if len(str(item.get("publicKey"))) > MAX_SHOWN else set()
    opened = Section(
        values=item,
        table=CACHE,
        problems=section.problems,
        path=path,
        secrets=frozenset(secrets),
        hidden=section.is_hidden(key.name),
    )
    opened.reject_unknown()
    fields = opened.read_fields()
    return Cache(**fields) if len(fields) == len(CACHE.keys) else None
