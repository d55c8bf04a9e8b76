"""A Docker daemon as tests look at it: past the plugin, through its socket.

What a test makes carries a label and a name with a prefix, and is removed by them; nothing else of
the daemon is touched.
"""

from __future__ import annotations

import http.client
import io
import json
import os
import socket
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlencode

Json = Any
LABEL: Final = "flakeup.contract"
APPLETS: Final = ("cat", "echo", "httpd", "ls", "nc", "sh", "sleep", "stat", "true", "wget")


class RefusedError(Exception):
    """The daemon answered with an error."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"{status}: {text}")
        self.status = status


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("docker", timeout=60)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(60)
        self.sock.connect(self._path)


def static_busybox() -> Path | None:
    """A busybox that needs no libraries: the toolchain's, for nix's sandbox, or the machine's."""
    conf = os.environ.get("NIX_CONF_DIR")
    places = [Path(conf).parent / "sandbox" / "busybox"] if conf else []
    places += [Path("/bin/busybox"), Path("/usr/bin/busybox")]
    return next((place for place in places if _is_static(place)), None)


def _is_static(path: Path) -> bool:
    return path.is_file() and b"/ld-linux" not in path.read_bytes()[:4096]


@dataclass(frozen=True, slots=True, kw_only=True)
class Dockerd:
    """The daemon, and what the tests call their own in it."""

    host: str
    prefix: str

    @property
    def label(self) -> Json:
        """The label as the plugin takes it."""
        return {"label": LABEL, "value": self.prefix}

    @property
    def image(self) -> str:
        """The name of the tests' image."""
        return f"{self.prefix}:1"

    def ask(
        self, method: str, path: str, body: Json = None, *, kind: str = "application/json"
    ) -> Json:
        """One request; the last line of the answer's JSON."""
        connection = _Connection(self.host.removeprefix("unix://"))
        try:
            content = body if isinstance(body, bytes) or body is None else json.dumps(body)
            headers = {"Content-Type": kind, "X-Registry-Auth": "e30="}
            connection.request(method, path, content, headers)
            answer = connection.getresponse()
            said = answer.read().decode()
        finally:
            connection.close()
        if answer.status >= 400:
            raise RefusedError(answer.status, said)
        lines = said.strip().splitlines()
        return json.loads(said if len(lines) == 1 else lines[-1]) if lines else None

    def container(self, identity: str) -> Json:
        return self.ask("GET", f"/containers/{identity}/json")

    def is_there(self, identity: str) -> bool:
        try:
            self.container(identity)
        except RefusedError as error:
            assert error.status == 404  # noqa: PT017 anything else is no answer
            return False
        return True

    def run(self, identity: str, *argv: str) -> str:
        """Run a command in a container; what it prints on either stream."""
        asked = {"Cmd": argv, "AttachStdout": True, "AttachStderr": True, "Tty": True}
        made = self.ask("POST", f"/containers/{identity}/exec", asked)
        connection = _Connection(self.host.removeprefix("unix://"))
        try:
            started = json.dumps({"Detach": False, "Tty": True})
            headers = {"Content-Type": "application/json"}
            connection.request("POST", f"/exec/{made['Id']}/start", started, headers)
            return connection.getresponse().read().decode().strip()
        finally:
            connection.close()

    def make_image(self, busybox: Path, tag: str = "1") -> str:
        """An image of busybox alone; its id."""
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as tar:
            binary = tarfile.TarInfo("bin/busybox")
            binary.mode, binary.size = 0o755, busybox.stat().st_size
            with busybox.open("rb") as content:
                tar.addfile(binary, content)
            for applet in APPLETS:
                link = tarfile.TarInfo(f"bin/{applet}")
                link.type, link.linkname = tarfile.SYMTYPE, "busybox"
                tar.addfile(link)
            mark = tarfile.TarInfo("tag")
            mark.size = len(tag)
            tar.addfile(mark, io.BytesIO(tag.encode()))
        query = urlencode({"fromSrc": "-", "repo": self.prefix, "tag": tag})
        path = f"/images/create?{query}"
        return str(self.ask("POST", path, packed.getvalue(), kind="application/x-tar")["status"])

    def remove_all(self) -> None:
        """Remove what carries the tests' label, and their images."""
        filters = quote(json.dumps({"label": [f"{LABEL}={self.prefix}"]}))
        for found in self.ask("GET", f"/containers/json?all=1&filters={filters}"):
            self.ask("DELETE", f"/containers/{found['Id']}?force=1&v=1")
        for found in self.ask("GET", f"/networks?filters={filters}"):
            self.ask("DELETE", f"/networks/{found['Id']}")
        for found in self.ask("GET", f"/volumes?filters={filters}")["Volumes"] or ():
            self.ask("DELETE", f"/volumes/{found['Name']}?force=1")
        filters = quote(json.dumps({"reference": [self.prefix]}))
        for found in self.ask("GET", f"/images/json?filters={filters}"):
            self.ask("DELETE", f"/images/{found['Id']}?force=1")
