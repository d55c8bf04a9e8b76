"""Remotes: the Incus server that a name stands for on this machine.

The names are inputs of resources, and the same wherever a stack is run. Their addresses and client
certificates are configured on each machine (`incus remote add`).
"""

import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from ...config.incus_fingerprints import LOCAL
from ...errors import IncusError, message, printable
from . import certificate


@dataclass(frozen=True, slots=True, kw_only=True)
class Remote:
    """An Incus server, reached over a Unix socket, or over HTTPS with mutual TLS."""

    name: str
    socket: Path | None = None
    url: str = "http://incus"
    client: tuple[Path, Path] | None = None
    """The client certificate and its key, for HTTPS."""
    server: Path | None = None
    """The server's certificate, as pinned by the client."""
    pinned: str = ""
    """The fingerprint of the server's certificate, if the stack pins it."""

    @classmethod
    def find(cls, name: str, pinned: str = "") -> "Remote":
        """Look a remote up by name; `pinned` is the fingerprint that its server must have.

        Raises:
            IncusError: the client knows no such remote, or it is not an Incus server.
            IncusPinError: it is a socket, which has no certificate.
        """
        found = cls._find(name)
        if pinned and found.socket:
            raise certificate.pin_without_certificate(name, str(found.socket))
        return replace(found, pinned=pinned)

    @classmethod
    def _find(cls, name: str) -> "Remote":
        if name == LOCAL:
            return cls(name=name, socket=_local_socket())
        known = _client_remotes()
        entry = known.get(name)
        if not isinstance(entry, Mapping):
            names = ", ".join(sorted({LOCAL, *known}))
            detail = f"the client on this machine knows {names}"
            remedy = f"add it with `incus remote add {name} https://HOST:8443`"
            raise IncusError(message("unknown remote", name, detail, remedy))
        return _from_entry(name, entry)

    def tls_context(self) -> ssl.SSLContext:
        """A TLS context that trusts only the pinned certificate, with the client certificate.

        Raises:
            IncusError: a certificate is missing, or cannot be read.
            IncusPinError: the client has pinned another certificate than the stack.
        """
        # A server's certificate names no host: it only has to be the pinned one.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.check_hostname = False
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        try:
            self._load(context)
            if self.client:
                certificate, key = map(_existing, self.client)
                context.load_cert_chain(certificate, key)
        except (OSError, ValueError) as error:
            remedy = f"make `incus list {self.name}:` work on this machine first"
            raise IncusError(message("no certificate", self.name, str(error), remedy)) from error
        return context

    def _load(self, context: ssl.SSLContext) -> None:
        file = _existing(self.server)
        if not self.pinned:
            context.load_verify_locations(file)
            return
        # Trust exactly the certificate that was checked: the file may contain several.
        der = certificate.read(file)
        certificate.check_fingerprint(self.name, file, der, self.pinned)
        context.load_verify_locations(cadata=der)


def _existing(file: Path | None) -> Path:
    """Check that a file exists: the error of `ssl` would not name it."""
    if file is None or not file.exists():
        msg = f"{file} does not exist"
        raise ValueError(msg)
    return file


def _from_entry(name: str, entry: Mapping[str, Any]) -> Remote:
    address, protocol = str(entry.get("addr", "")), str(entry.get("protocol") or "incus")
    if address.startswith("unix:"):
        path = address.removeprefix("unix:").removeprefix("//")
        return Remote(name=name, socket=Path(path) if path else _local_socket())
    if protocol != "incus" or not address.startswith("https://"):
        detail = f"its protocol is {printable(protocol)}, at {printable(address)}"
        remedy = "use a remote of an Incus server (`incus remote list`)"
        raise IncusError(message("not an Incus server", name, detail, remedy))
    folder = _client_folder()
    return Remote(
        name=name,
        url=address.rstrip("/"),
        client=(folder / "client.crt", folder / "client.key"),
        server=folder / "servercerts" / f"{name}.crt",
    )


def _local_socket() -> Path:
    folder = os.environ.get("INCUS_DIR") or "/var/lib/incus"
    return Path(os.environ.get("INCUS_SOCKET") or f"{folder}/unix.socket")


def _client_folder() -> Path:
    return Path(os.environ.get("INCUS_CONF") or Path.home() / ".config" / "incus")


def _client_remotes() -> Mapping[str, Any]:
    file = _client_folder() / "config.yml"
    try:
        remotes = (yaml.safe_load(file.read_text()) or {}).get("remotes") or {}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, AttributeError, yaml.YAMLError) as error:
        remedy = "check that `incus remote list` works"
        raise IncusError(message("cannot read", str(file), str(error), remedy)) from error
    return remotes if isinstance(remotes, Mapping) else {}
