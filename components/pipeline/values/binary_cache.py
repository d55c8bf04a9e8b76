"""Binary caches of nix: where one is, and the key of its signatures."""

import base64
import binascii
import re
from dataclasses import dataclass
from typing import Final, Self
from urllib.parse import urlsplit

from .names import InvalidValue, check_characters

MAX_URL: Final = 400
MAX_KEY_NAME: Final = 200
KEY_BYTES: Final = 32
"""Of an ed25519 public key."""
SCHEMES: Final = ("https", "http", "s3", "file")
OPTIONS: Final = frozenset(
    {"priority", "want-mass-query", "region", "profile", "endpoint", "scheme"}
)
"""The settings in a URL that say where and how to ask; `trusted` would switch signatures off."""
_HOST: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:[0-9]{1,5})?")
_PATH: Final = re.compile(r"/[A-Za-z0-9][^?]*")


@dataclass(frozen=True, slots=True)
class CacheUrl:
    """A substituter as `substituters` of nix.conf takes it, without credentials."""

    text: str

    def __post_init__(self) -> None:
        if "@" in self.text:
            msg = "has a user or password in it"
            remedy = "remove it: a password belongs in nix's netrc-file"
            raise InvalidValue(msg, remedy=remedy)
        check_characters(self.text, "A-Za-z0-9._~/:?&=%+,-", limit=MAX_URL)
        try:
            url = urlsplit(self.text)
        except ValueError:
            msg = "is not a URL"
            raise InvalidValue(msg) from None
        if url.scheme not in SCHEMES or not self.text.startswith(f"{url.scheme}://"):
            msg = f"does not begin with {', '.join(f'{one}://' for one in SCHEMES)}"
            raise InvalidValue(msg)
        if url.scheme == "file" and (url.netloc or not _PATH.fullmatch(url.path)):
            msg = "has no absolute path"
            raise InvalidValue(msg)
        if url.scheme != "file" and not _HOST.fullmatch(url.netloc):
            msg = "has no host" if url.scheme != "s3" else "has no bucket"
            raise InvalidValue(msg)
        _check_options(url.query)

    @property
    def place(self) -> str:
        """Where it is, to compare with another spelling: without settings and a final slash."""
        return place_of(self.text)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse the URL of a cache, or raise InvalidValue."""
        return cls(text)


def place_of(url: str) -> str:
    """Where a cache is, whatever its settings: the URL up to `?`, without a final slash."""
    return url.partition("?")[0].rstrip("/")


def _check_options(query: str) -> None:
    for option in query.split("&") if query else ():
        name = option.partition("=")[0]
        if name not in OPTIONS:
            msg = "has a setting that is not allowed here"
            raise InvalidValue(msg, sample=name, remedy=f"use {', '.join(sorted(OPTIONS))} alone")


@dataclass(frozen=True, slots=True)
class CacheKey:
    """The public key of a cache's signatures: `cache.example.org-1:BASE64`."""

    text: str

    def __post_init__(self) -> None:
        name, colon, encoded = self.text.partition(":")
        if not colon:
            msg = "is not a name and a key with ':' between them"
            raise InvalidValue(msg)
        check_characters(name, "A-Za-z0-9._-", limit=MAX_KEY_NAME)
        try:
            size = len(base64.b64decode(encoded, validate=True))
        except (binascii.Error, ValueError):
            size = 0
        if size == 2 * KEY_BYTES:
            msg = "is the secret key"
            remedy = "make another pair (`nix key generate-secret`), and write its public half"
            raise InvalidValue(msg, remedy=remedy)
        if size != KEY_BYTES:
            msg = f"has no {KEY_BYTES} bytes in base64 after its name"
            raise InvalidValue(msg)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse a public key, or raise InvalidValue."""
        return cls(text)
