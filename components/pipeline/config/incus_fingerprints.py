"""The pinned certificates of servers, as the stack's `incus` has them."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Final

from ..targets.incus.remote import LOCAL
from ..values import InvalidValue
from .incus_table import FINGERPRINTS, INCUS
from .section import Section

KEY: Final = "fingerprints"
_HEX: Final = re.compile(r"[0-9a-f]{64}")


def parse_fingerprint(text: str) -> str:
    """Parse a sha256 in hex, also as openssl writes it, or raise InvalidValue."""
    plain = text.replace(":", "").lower()
    if not _HEX.fullmatch(plain):
        msg = "is no sha256 in hex"
        raise InvalidValue(msg)
    return plain


def read_fingerprints(incus: Section) -> dict[str, str]:
    """Read the fingerprints, by remote."""
    values = incus.mapping(KEY)
    if values is None:
        return {}
    section = _section(incus, values)
    found = {}
    for name, value in values.items():
        if name == LOCAL:
            why = "is this machine's own server, by a socket, which shows no certificate"
            section.refuse(name, why, "remove it, or name a remote that `incus remote list` shows")
            continue
        try:
            found[name] = parse_fingerprint(value if isinstance(value, str) else "")
        except InvalidValue as error:
            section.refuse(name, error.reason(), INCUS[KEY].write)
    return found


def check_fingerprints(incus: Section, remotes: Iterable[str]) -> None:
    """Refuse a pin of a server that no host is on: a name that is misspelt would pin nothing."""
    values = incus.mapping(KEY) or {}
    names = ", ".join(sorted(set(remotes)))
    for name in values.keys() - {*remotes, LOCAL}:
        remedy = f"remove it, or write one of the hosts' remotes: {names}"
        _section(incus, values).refuse(name, "is a remote that no host is on", remedy)


def _section(incus: Section, values: Mapping[str, object]) -> Section:
    return replace(incus.inner(KEY, {}, FINGERPRINTS), values=values)
