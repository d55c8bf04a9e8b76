"""Which Incus server a name stands for: this machine's, or a remote that its client knows.

The names are inputs of resources, and the same everywhere; where the servers are, and with which
certificate one is let in, is each machine's own affair (`incus remote add`).
"""

import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import yaml

from ...errors import IncusError, message, printable
from . import certificate

LOCAL: Final = "local"
"""The name under which the client knows this machine's own server."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Remote:
    """One Incus server: over a unix socket, or by https with certificates on both sides."""

    name: str
    socket: Path | None = None
    url: str = "http://incus"
    client: tuple[Path, Path] | None = None
    """Our certificate and its key, where it is reached by https."""
    server: Path | None = None
    """The server's certificate, as the client has pinned it."""
    pinned: str = ""
    """The fingerprint of that certificate, where the stack has pinned it."""

    @classmethod
    def find(cls, name: str, pinned: str = "") -> "Remote":
        """The server of a remote's name; with `pinned` the one that has that certificate.

        Raises:
            IncusError: the client knows no such remote, or one that is no Incus server.
            IncusPinError: it has no certificate.
        """
        found = cls._find(name)
        if pinned and found.socket:
            raise certificate.none_to_pin(name, str(found.socket))
        return replace(found, pinned=pinned)

    @classmethod
    def _find(cls, name: str) -> "Remote":
        if name == LOCAL:
            return cls(name=name, socket=_local_socket())
        known = _known()
        entry = known.get(name)
        if not isinstance(entry, Mapping):
            names = ", ".join(sorted({LOCAL, *known}))
            remedy = f"`incus remote add {name} https://HOST:8443` adds it; known are: {names}"
            raise IncusError(message("unknown remote", name, "no such remote here", remedy))
        return _of(name, entry)

    def trust(self) -> ssl.SSLContext:
        """Trust the pinned certificate alone, and show our own.

        Raises:
            IncusError: a certificate is missing, or cannot be read.
            IncusPinError: the client has pinned another one than the stack.
        """
        # A server names no host in its certificate: that it is the pinned one is what counts.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.check_hostname = False
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        try:
            self._load(context)
            if self.client:
                certificate, key = map(_there, self.client)
                context.load_cert_chain(certificate, key)
        except (OSError, ValueError) as error:
            remedy = f"`incus list {self.name}:` has to work on this machine first"
            raise IncusError(message("no certificate", self.name, str(error), remedy)) from error
        return context

    def _load(self, context: ssl.SSLContext) -> None:
        file = _there(self.server)
        if not self.pinned:
            context.load_verify_locations(file)
            return
        # What was compared is what is trusted: a file may hold more than one.
        der = certificate.read(file)
        certificate.check(self.name, file, der, self.pinned)
        context.load_verify_locations(cadata=der)


def _there(file: Path | None) -> Path:
    """A file that has to be there; the error of ssl does not name it."""
    if file is None or not file.exists():
        msg = f"{file} is not there"
        raise ValueError(msg)
    return file


def _of(name: str, entry: Mapping[str, Any]) -> Remote:
    address, protocol = str(entry.get("addr", "")), str(entry.get("protocol") or "incus")
    if address.startswith("unix:"):
        path = address.removeprefix("unix:").removeprefix("//")
        return Remote(name=name, socket=Path(path) if path else _local_socket())
    if protocol != "incus" or not address.startswith("https://"):
        detail = f"it speaks {printable(protocol)} at {printable(address)}"
        raise IncusError(message("not an Incus server", name, detail, "name one that is"))
    folder = _folder()
    return Remote(
        name=name,
        url=address.rstrip("/"),
        client=(folder / "client.crt", folder / "client.key"),
        server=folder / "servercerts" / f"{name}.crt",
    )


def _local_socket() -> Path:
    folder = os.environ.get("INCUS_DIR") or "/var/lib/incus"
    return Path(os.environ.get("INCUS_SOCKET") or f"{folder}/unix.socket")


def _folder() -> Path:
    return Path(os.environ.get("INCUS_CONF") or Path.home() / ".config" / "incus")


def _known() -> Mapping[str, Any]:
    file = _folder() / "config.yml"
    try:
        remotes = (yaml.safe_load(file.read_text()) or {}).get("remotes") or {}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, AttributeError, yaml.YAMLError) as error:
        remedy = "`incus remote list` shows what its client makes of it"
        raise IncusError(message("cannot read", str(file), str(error), remedy)) from error
    return remotes if isinstance(remotes, Mapping) else {}
