"""Docker archives for tests: written member by member, whole or not."""

import hashlib
import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

CONFIG: dict[str, Any] = {
    "architecture": "amd64",
    "os": "linux",
    "created": "1970-01-01T00:00:01Z",
    "config": {"Cmd": ["/bin/sleep", "1000"], "Env": ["PATH=/usr/sbin:/bin"]},
}


def layer(files: Mapping[str, bytes]) -> bytes:
    """A layer with these files, executable all of them."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        for name, content in files.items():
            add(tar, name, content, mode=0o755)
    return made.getvalue()


def add(tar: tarfile.TarFile, name: str, content: bytes, *, mode: int = 0o644) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(content), mode
    tar.addfile(info, io.BytesIO(content))


def members(
    content: bytes, tags: list[str] | None, *, config: Mapping[str, Any] = CONFIG, blobs: bool
) -> dict[str, bytes]:
    """The members of an archive of one image with one layer, as dockerTools or OCI names them."""
    digest = hashlib.sha256(content).hexdigest()
    rootfs = {"type": "layers", "diff_ids": [f"sha256:{digest}"]}
    text = json.dumps({**config, "rootfs": rootfs}).encode()
    name = hashlib.sha256(text).hexdigest()
    place = {"config": f"{name}.json", "layer": f"{digest}/layer.tar"}
    if blobs:
        place = {"config": f"blobs/sha256/{name}", "layer": f"blobs/sha256/{digest}"}
    entry = {"Config": place["config"], "RepoTags": tags, "Layers": [place["layer"]]}
    manifest = json.dumps([entry]).encode()
    return {place["layer"]: content, "manifest.json": manifest, place["config"]: text}


def write(path: Path, parts: Mapping[str, bytes], compression: str = "") -> Path:
    with tarfile.open(path, f"w:{compression}" if compression else "w") as tar:  # type: ignore[call-overload]  # of modes typeshed wants a literal
        for name, content in parts.items():
            add(tar, name, content)
    return path
