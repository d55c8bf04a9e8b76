"""The pinned certificates of Incus servers, as the stack's `incus` has them."""

import re
from collections.abc import Iterable
from typing import Final

from ..values import InvalidValue
from .schema import Key
from .section import Section

LOCAL: Final = "local"
"""The remote that is this machine's own server."""
_FINGERPRINT: Final = re.compile(r"[0-9a-f]{64}")


def parse_fingerprint(text: str) -> str:
    """Parse a SHA-256 fingerprint in hex, also as openssl writes it, or raise InvalidValue."""
    plain = text.replace(":", "").lower()
    if not _FINGERPRINT.fullmatch(plain):
        msg = "is not a SHA-256 fingerprint"
        raise InvalidValue(msg)
    return plain


def read_fingerprints(incus: Section, key: Key) -> dict[str, str] | None:
    """Read the fingerprints, by remote."""
    values = incus.read_map(key.name)
    if values is None:
        return None
    section = incus.open(key.name, values)
    found = {}
    for name, value in values.items():
        if name == LOCAL:
            why = "is the server on this machine, reached by a socket, which has no certificate"
            section.reject(name, why, "remove it, or name a remote that `incus remote list` shows")
            continue
        try:
            found[name] = parse_fingerprint(value if isinstance(value, str) else "")
        except InvalidValue as error:
            section.reject(name, error.reason(), key.write)
    return found


def check_fingerprints(incus: Section, key: Key, remotes: Iterable[str]) -> None:
    """Reject a pinned certificate of a server that no host uses: it may be misspelt."""
    values = incus.read_map(key.name) or {}
    section = incus.open(key.name, values)
    names = ", ".join(sorted(set(remotes)))
    for name in values.keys() - {*remotes, LOCAL}:
        remedy = f"remove it, or write one of the hosts' remotes: {names}"
        section.reject(name, "is a remote that no host uses", remedy)
