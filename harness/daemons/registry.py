"""An image registry, and a TCP proxy that cuts connections to it."""

from __future__ import annotations

import base64
import json
import os
import re
import socket
import subprocess
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Self

import bcrypt
import httpx
import yaml

from harness.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PROGRAM: Final = "docker-registry"
USER: Final = "robot"
PASSWORD: Final = f"poison-{os.getpid()}-secret"
_REQUEST: Final = re.compile(r'"([A-Z]+ /v2/\S*) HTTP/[0-9.]+" ([0-9]{3})')


@dataclass(frozen=True, slots=True, kw_only=True)
class Registry:
    """A running registry; its requests are in its log."""

    port: int
    log: Path
    login: tuple[str, str] | None = None
    host: str = "127.0.0.1"

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"

    def requests(self, pattern: str = "") -> list[str]:
        """The requests so far with their statuses, such as `PUT /v2/x/manifests/y 201`."""
        found = [" ".join(one) for one in _REQUEST.findall(self.log.read_text())]
        return [one for one in found if re.search(pattern, one)]

    def forget(self) -> None:
        self.log.write_text("")

    def tags(self, name: str) -> list[str]:
        answer = httpx.get(f"http://{self.address}/v2/{name}/tags/list", auth=self.login)
        return sorted(answer.json().get("tags") or ())

    def digest(self, name: str, tag: str) -> str:
        kinds = (
            "application/vnd.docker.distribution.manifest.v2+json",
            "application/vnd.oci.image.manifest.v1+json",
            "application/vnd.docker.distribution.manifest.list.v2+json",
        )
        answer = httpx.head(
            f"http://{self.address}/v2/{name}/manifests/{tag}",
            auth=self.login,
            headers={"Accept": ", ".join(kinds)},
        )
        return str(answer.headers["Docker-Content-Digest"])


@contextmanager
def running(
    folder: Path,
    *,
    with_login: bool = False,
    host: str = "127.0.0.1",
    certificate: Path | None = None,
) -> Iterator[Registry]:
    """Run a registry during the block; a folder always gets the same port."""
    folder.mkdir(exist_ok=True)
    port_file, log = folder / "port", folder / "log"
    if not port_file.exists():
        port_file.write_text(str(free_port()))
    port = int(port_file.read_text())
    file = folder / "config.yml"
    config = _config(folder, f"{host}:{port}", with_login=with_login, certificate=certificate)
    file.write_text(yaml.safe_dump(config))
    with log.open("ab") as opened:
        process = subprocess.Popen(
            (PROGRAM, "serve", str(file)),
            stdin=subprocess.DEVNULL,
            stdout=opened,
            stderr=opened,
            env={"PATH": os.environ["PATH"], "OTEL_TRACES_EXPORTER": "none"},
        )
    made = Registry(port=port, log=log, login=(USER, PASSWORD) if with_login else None, host=host)
    try:
        _wait(made, process)
        yield made
    finally:
        process.terminate()
        process.wait(timeout=20)


def _config(
    folder: Path, address: str, *, with_login: bool, certificate: Path | None
) -> dict[str, object]:
    http: dict[str, object] = {"addr": address}
    if certificate:
        key = str(certificate.with_suffix(".key"))
        http["tls"] = {"certificate": str(certificate), "key": key}
    config: dict[str, object] = {
        "version": "0.1",
        "log": {"accesslog": {"disabled": False}},
        "storage": {"filesystem": {"rootdirectory": str(folder / "data")}},
        "http": http,
    }
    if with_login:
        hashed = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(rounds=4)).decode()
        (folder / "htpasswd").write_text(f"{USER}:{hashed}\n")
        config["auth"] = {"htpasswd": {"realm": "test", "path": str(folder / "htpasswd")}}
    return config


def _wait(registry: Registry, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 20
    while True:
        assert process.poll() is None, registry.log.read_text()
        assert time.monotonic() < deadline, "the registry does not start"
        with suppress(OSError), socket.create_connection((registry.host, registry.port), 5):
            return
        time.sleep(0.05)


def config_with(registry: str, login: tuple[str, str]) -> str:
    """A config file with a login, as `docker login` writes it."""
    auth = base64.b64encode(":".join(login).encode()).decode()
    return json.dumps({"auths": {registry: {"auth": auth}}})


@dataclass(slots=True)
class Wire:
    """A proxy of a local port that cuts connections after some bytes."""

    to: int
    port: int = 0
    cuts: int = 0
    """How many more connections to cut."""
    after: int = 1_000_000
    """Bytes that a connection may send before it is cut."""
    cut: int = 0
    """How many connections were cut."""
    _listener: socket.socket = field(default_factory=lambda: socket.create_server(("127.0.0.1", 0)))

    def __enter__(self) -> Self:
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(near,), daemon=True).start()

    def _serve(self, near: socket.socket) -> None:
        with near, socket.create_connection(("127.0.0.1", self.to)) as far:
            back = threading.Thread(target=self._carry, args=(far, near, 1 << 62), daemon=True)
            back.start()
            self._carry(near, far, self.after)
            back.join()

    def _carry(self, one: socket.socket, other: socket.socket, most: int) -> None:
        carried = 0
        with suppress(OSError):
            while piece := one.recv(1 << 16):
                carried += len(piece)
                if carried > most and self.cuts > 0:
                    self.cuts -= 1
                    self.cut += 1
                    break
                other.sendall(piece)
        for end in (one, other):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
