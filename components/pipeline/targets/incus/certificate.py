"""Server certificates, their fingerprints, and the fingerprints that a stack pins.

Which server a remote's name stands for depends on the machine. A stack that pins the fingerprint
gets the same server wherever it is run.
"""

import hashlib
import re
import ssl
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from ...errors import IncusPinError, message

SHOWN: Final = 12
"""Digits of a fingerprint in a message, as in Incus's own client."""
TIMEOUT: Final = 5.0
_PEM: Final = re.compile("-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)


def fingerprint(der: bytes) -> str:
    """SHA-256 of a certificate in hex, as `incus info` shows it."""
    return hashlib.sha256(der).hexdigest()


def read(file: Path) -> bytes:
    """Read the certificate in a file; of several the first, as Incus's client does.

    Raises:
        OSError, ValueError: there is none.
    """
    if not (found := _PEM.search(file.read_text(encoding="ascii"))):
        msg = f"{file} contains no certificate"
        raise ValueError(msg)
    return ssl.PEM_cert_to_DER_cert(found[0])


def describe_mismatch(url: str, file: Path | None) -> str:
    """Name the fingerprint that a server presents and the pinned one, for people to compare.

    Empty if either is not available. The connection is only a handshake: nothing is sent over it.
    """
    parts = urlsplit(url)
    try:
        address = (parts.hostname or "", parts.port or 443)
        text = ssl.get_server_certificate(address, timeout=TIMEOUT)
        presented = fingerprint(ssl.PEM_cert_to_DER_cert(text))
        pinned = fingerprint(read(file)) if file else ""
    except (OSError, ValueError):
        return ""
    return f"pinned {pinned[:SHOWN]}, presented {presented[:SHOWN]}"


def check_fingerprint(remote: str, file: Path, der: bytes, pinned: str) -> None:
    """Check that the client has pinned the certificate that the stack pins.

    Raises:
        IncusPinError: it has pinned another one.
    """
    if (found := fingerprint(der)) == pinned:
        return
    detail = (
        f"the client has {found[:SHOWN]} ({file}), and `incus.fingerprints` in the config has "
        f"{pinned[:SHOWN]}"
    )
    remedy = (
        "compare with `incus info` on the server (certificate_fingerprint): if this remote is "
        "another server, remove and add it again (`incus remote remove`, `add`); if the server has "
        "a new certificate, put its fingerprint into the config"
    )
    raise IncusPinError(message("not the stack's server", remote, detail, remedy))


def pin_without_certificate(remote: str, where: str) -> IncusPinError:
    """The error about a pinned remote that presents no certificate."""
    detail = f"here it is a Unix socket ({where}), which presents no certificate"
    remedy = "add it by its address (`incus remote add`), or remove it from `incus.fingerprints`"
    return IncusPinError(message("no certificate to pin", remote, detail, remedy))
