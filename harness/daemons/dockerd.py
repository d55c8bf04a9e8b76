"""A Docker daemon as tests see it: directly through its socket, not through a provider.

What a test creates carries a label and a prefix in its name, by which it is removed; nothing else
in the daemon is touched.
"""

from __future__ import annotations

import io
import json
import os
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote, urlencode

from harness.docker_api import DockerApi
from harness.unix_http import ApiError, Json

LABEL: Final = "flakeup.contract"
APPLETS: Final = ("cat", "echo", "httpd", "ls", "nc", "sh", "sleep", "stat", "true", "wget")


def static_busybox() -> Path | None:
    """A statically linked busybox: the toolchain's, for nix's sandbox, or the machine's."""
    conf = os.environ.get("NIX_CONF_DIR")
    places = [Path(conf).parent / "sandbox" / "busybox"] if conf else []
    places += [Path("/bin/busybox"), Path("/usr/bin/busybox")]
    return next((place for place in places if _is_static(place)), None)


def _is_static(path: Path) -> bool:
    return path.is_file() and b"/ld-linux" not in path.read_bytes()[:4096]


@dataclass(frozen=True, slots=True, kw_only=True)
class Dockerd:
    """A daemon, and the names and labels of tests in it."""

    host: str
    prefix: str

    @property
    def socket(self) -> Path:
        return Path(self.host.removeprefix("unix://"))

    @property
    def label(self) -> Json:
        """The label, as the Docker provider takes it."""
        return {"label": LABEL, "value": self.prefix}

    @property
    def image(self) -> str:
        """The name of the tests' image."""
        return f"{self.prefix}:1"

    @property
    def api(self) -> DockerApi:
        return DockerApi(host=self.host)

    def request(
        self, method: str, path: str, body: Json = None, *, content_type: str = "application/json"
    ) -> Json:
        return self.api.request(method, path, body, content_type=content_type)

    def container(self, identity: str) -> Json:
        return self.request("GET", f"/containers/{identity}/json")

    def is_there(self, identity: str) -> bool:
        try:
            self.container(identity)
        except ApiError as error:
            assert error.status == 404  # noqa: PT017 other errors prove nothing
            return False
        return True

    def run(self, identity: str, *argv: str) -> str:
        """Run a command in a container; returns its stdout and stderr."""
        command = {"Cmd": argv, "AttachStdout": True, "AttachStderr": True, "Tty": True}
        created = self.request("POST", f"/containers/{identity}/exec", command)
        start = {"Detach": False, "Tty": True}
        output = self.api.request_bytes("POST", f"/exec/{created['Id']}/start", start)
        return output.decode().strip()

    def make_image(self, busybox: Path, tag: str = "1") -> str:
        """Create an image with busybox alone; returns its id."""
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
        return str(
            self.request("POST", path, packed.getvalue(), content_type="application/x-tar")[
                "status"
            ]
        )

    def remove_all(self) -> None:
        """Remove everything with the tests' label, and their images."""
        filters = quote(json.dumps({"label": [f"{LABEL}={self.prefix}"]}))
        for found in self.request("GET", f"/containers/json?all=1&filters={filters}"):
            self.request("DELETE", f"/containers/{found['Id']}?force=1&v=1")
        for found in self.request("GET", f"/networks?filters={filters}"):
            self.request("DELETE", f"/networks/{found['Id']}")
        for found in self.request("GET", f"/volumes?filters={filters}")["Volumes"] or ():
            self.request("DELETE", f"/volumes/{found['Name']}?force=1")
        filters = quote(json.dumps({"reference": [self.prefix]}))
        for found in self.request("GET", f"/images/json?filters={filters}"):
            self.request("DELETE", f"/images/{found['Id']}?force=1")
