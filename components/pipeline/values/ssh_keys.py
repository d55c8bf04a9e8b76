"""The keys of ssh: a host's public key, which is pinned, and the private key we log in with."""

import base64
import hashlib
import re
from dataclasses import dataclass, field
from typing import Final, Self

from .names import InvalidValue

ED25519: Final = "ssh-ed25519"
_BLOB_HEAD: Final = b"\x00\x00\x00\x0bssh-ed25519\x00\x00\x00\x20"
_BLOB_SIZE: Final = len(_BLOB_HEAD) + 32
_OTHER_TYPES: Final = re.compile(r"(ssh-dss|ssh-rsa|ecdsa-sha2-\S+|sk-\S+)$")
_ARMOUR: Final = re.compile(
    r"-----BEGIN (?P<kind>[A-Z0-9 ]*PRIVATE KEY)-----\n(?P<body>.+)\n-----END (?P=kind)-----\n*",
    re.DOTALL,
)
_OPENSSH_MAGIC: Final = b"openssh-key-v1\x00"


@dataclass(frozen=True, slots=True)
class HostKey:
    """A host's public ed25519 key; `line` is as in known_hosts, without name and comment."""

    line: str

    def __post_init__(self) -> None:
        _check_blob(self.line.removeprefix(f"{ED25519} "))

    @property
    def fingerprint(self) -> str:
        """The key as ssh shows it: `SHA256:...`."""
        digest = hashlib.sha256(base64.b64decode(self.line.split(" ")[1])).digest()
        return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse `ssh-ed25519 AAAA... [comment]`, or raise InvalidValue."""
        text = text.removesuffix("\n")
        if "PRIVATE KEY" in text:
            msg = "is a private key, which nobody but the host may have"
            raise InvalidValue(
                msg, remedy="make a new one on that host, and write its public key here"
            )
        if "\n" in text or "\r" in text:
            msg = "has more than one line"
            raise InvalidValue(msg, remedy="write the one line of the ed25519 key")
        if text.startswith(("SHA256:", "MD5:")):
            msg = "is the fingerprint of a key"
            raise InvalidValue(msg)
        words = text.split()
        if not words:
            msg = "is empty"
            raise InvalidValue(msg)
        if _OTHER_TYPES.match(words[0]):
            msg = "is not an ed25519 key"
            raise InvalidValue(msg, sample=words[0])
        if words[0] != ED25519:
            msg = "has something before the key"
            raise InvalidValue(
                msg,
                remedy="begin with ssh-ed25519: leave out options, and the name ssh-keyscan prints",
            )
        return cls(" ".join(words[:2]))


def _check_blob(encoded: str) -> None:
    blob = _decoded(encoded)
    if len(blob) != _BLOB_SIZE or not blob.startswith(_BLOB_HEAD):
        msg = "is not a whole ed25519 key: something is missing from it, or was added"
        raise InvalidValue(msg)


@dataclass(frozen=True, slots=True)
class PrivateKey:
    """A private key without passphrase, as OpenSSH and the provider read it."""

    text: str = field(repr=False)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse a private key in OpenSSH's or a PEM form, or raise InvalidValue.

        Line ends of Windows are accepted, and replaced.
        """
        text = text.replace("\r\n", "\n").strip() + "\n"
        if text.startswith(("ssh-", "ecdsa-", "sk-")):
            msg = "is a public key"
            raise InvalidValue(msg)
        found = _ARMOUR.fullmatch(text)
        if found is None:
            msg = "is not a private key with its first and last line, and its line breaks"
            raise InvalidValue(msg)
        if _is_encrypted(found["kind"], found["body"]):
            msg = "has a passphrase, and nobody is there to type it"
            raise InvalidValue(
                msg, remedy="make a key without one for deployments: ssh-keygen -t ed25519 -N ''"
            )
        return cls(text)


def _is_encrypted(kind: str, body: str) -> bool:
    """Tell by the cipher's name in OpenSSH's form, by its headers in a PEM one."""
    if kind.startswith("ENCRYPTED") or body.startswith("Proc-Type: 4,ENCRYPTED"):
        return True
    blob = _decoded(body.replace("\n", ""))
    is_openssh = kind.startswith("OPENSSH")
    if not blob or is_openssh != blob.startswith(_OPENSSH_MAGIC):
        msg = "is not a whole private key: something is missing between its first and last line"
        raise InvalidValue(msg)
    return is_openssh and not blob.startswith(_OPENSSH_MAGIC + b"\x00\x00\x00\x04none")


def _decoded(encoded: str) -> bytes:
    """Decode base64; invalid text gives nothing."""
    try:
        return base64.b64decode(encoded, validate=True)
    except ValueError:
        return b""
