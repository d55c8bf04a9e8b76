"""The certificate of a server by its fingerprint, and the one that the stack has pinned.

What a remote's name leads to is each machine's own affair; with a pin it is the stack's, and
whoever runs the program speaks with the same server.
"""

import hashlib
import re
import ssl
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from ...errors import IncusPinError, message

SHOWN: Final = 12
"""Digits of a fingerprint in a message, as Incus's client shows them."""
PATIENCE: Final = 5.0
_PEM: Final = re.compile("-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)


def fingerprint(der: bytes) -> str:
    """The name of a certificate: the sha256 of its bytes, as `incus info` says it."""
    return hashlib.sha256(der).hexdigest()


def read(file: Path) -> bytes:
    """The certificate in a file; of several the first, as Incus's client takes it.

    Raises:
        OSError, ValueError: there is none.
    """
    if not (found := _PEM.search(file.read_text(encoding="ascii"))):
        msg = f"{file} has no certificate in it"
        raise ValueError(msg)
    return ssl.PEM_cert_to_DER_cert(found[0])


def unlike(url: str, file: Path | None) -> str:
    """What a server shows to whoever asks, beside what is pinned; empty where it cannot be had.

    Nothing is sent, and nobody is trusted: it is for people to compare.
    """
    place = urlsplit(url)
    try:
        address = (place.hostname or "", place.port or 443)
        text = ssl.get_server_certificate(address, timeout=PATIENCE)
        there = fingerprint(ssl.PEM_cert_to_DER_cert(text))
        pinned = fingerprint(read(file)) if file else ""
    except (OSError, ValueError):
        return ""
    return f"it is {there[:SHOWN]}, and {pinned[:SHOWN]} is pinned"


def check(remote: str, file: Path, der: bytes, pinned: str) -> None:
    """Refuse what the client has pinned where that is not what the stack has.

    Raises:
        IncusPinError: its name, and both fingerprints.
    """
    if (found := fingerprint(der)) == pinned:
        return
    detail = (
        f"the client has {found[:SHOWN]} ({file}), and `incus.fingerprints` in the config has "
        f"{pinned[:SHOWN]}"
    )
    remedy = (
        "`incus info` on the server says which it is (certificate_fingerprint): another remote of "
        "that name is added anew (`incus remote remove`, `add`), and only a new certificate goes "
        "into the config"
    )
    raise IncusPinError(message("not the stack's server", remote, detail, remedy))


def none_to_pin(remote: str, where: str) -> IncusPinError:
    """What is said of a pin where there is no certificate."""
    detail = f"here it is a socket ({where}), which shows no certificate to hold against the pin"
    remedy = "add it by its address (`incus remote add`), or remove it from `incus.fingerprints`"
    return IncusPinError(message("no certificate to pin", remote, detail, remedy))
