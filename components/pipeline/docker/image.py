"""What nix has built to an image in a daemon, under a name that evaluation knows.

The name's tag is the hash of the store path, so it is never moved: an image of that name is the
right one. Docker's own name (`sha256:…`) is the digest of the image's configuration, which the
archive says; with containerd's image store it is another one, which nobody knows before.
"""

import asyncio
import json
import os
import re
import tarfile
import tempfile
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from enum import StrEnum
from http import HTTPStatus
from pathlib import Path
from typing import Final
from urllib.parse import urlencode

from components.pipeline import process
from components.pipeline.docker.daemon import Daemon, segment
from components.pipeline.errors import DockerError, ProcessError, message
from components.pipeline.grammar import StorePath

STREAM_TIMEOUT: Final = 1800.0
"""Seconds for an image's own script to write it."""
MANIFEST_LIMIT: Final = 4 * 1024 * 1024
_CHUNK: Final = 1 << 20
_CONFIG: Final = re.compile(r"^(?:blobs/sha256/)?([0-9a-f]{64})(?:\.json)?$")
_CONTAINERD: Final = "io.containerd.snapshotter"


class Kind(StrEnum):
    """What nix has built."""

    ARCHIVE = "archive"
    """A docker-archive, compressed or not (dockerTools.buildImage, buildLayeredImage)."""
    STREAM = "stream"
    """A script that writes one (dockerTools.streamLayeredImage)."""

    @classmethod
    def of(cls, path: Path) -> "Kind":
        """Tell them apart by themselves.

        Raises:
            DockerError: it is neither.
        """
        remedy = "the attribute has to be an image of dockerTools"
        if not path.exists():
            raise DockerError(message("not an image", str(path), "it is not in this store", remedy))
        if path.is_file() and os.access(path, os.X_OK):
            return cls.STREAM
        if path.is_file() and tarfile.is_tarfile(path):
            return cls.ARCHIVE
        if path.is_file() and path.read_bytes()[:1] == b"{":
            detail = "it is nix2container's, which only its own script can send"
            remedy = "name its `copyToDockerDaemon`, or build it with dockerTools"
            raise DockerError(message("not an image archive", str(path), detail, remedy))
        detail = "it is neither an image archive nor a script that writes one"
        raise DockerError(message("not an image", str(path), detail, remedy))


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What an archive says of its image."""

    config: str
    """`sha256:…` of its configuration."""
    tags: tuple[str, ...]
    """The names that loading it gives to the image."""
    size: int
    """Bytes of the archive."""


def read_manifest(archive: Path) -> Manifest:
    """Read `manifest.json`; the archive is read to its end, as one that was cut short shows there.

    Raises:
        DockerError: it is no archive of one image, or was cut short.
    """
    try:
        with tarfile.open(archive) as tar:
            members = {one.name: one for one in tar.getmembers()}
            file = tar.extractfile(members["manifest.json"])
            (image,) = json.loads(file.read(MANIFEST_LIMIT) if file else b"")
        digest = _CONFIG.sub(r"sha256:\1", image["Config"])
        tags = tuple(image.get("RepoTags") or ())
        return Manifest(config=digest, tags=tags, size=archive.stat().st_size)
    except (OSError, EOFError, tarfile.TarError, ValueError, KeyError) as error:
        remedy = "build it again (`nix store repair` where the store is damaged)"
        text = message("not a whole image archive", str(archive), str(error), remedy)
        raise DockerError(text) from error


async def ensure(docker: Daemon, built: StorePath, ref: str, say: Callable[[str], None]) -> str:
    """Have the image in the daemon under the name `ref`; gives Docker's own name for it.

    Other names that the archive brings are left as they were: a user's `app:latest` stays theirs.

    Raises:
        DockerError: it is no image, or the daemon refused it.
        DockerAwayError: no daemon answers.
    """
    if there := await docker.find(f"/images/{segment(ref)}/json"):
        return str(there["Id"])
    path = Path(built.path)
    if Kind.of(path) is Kind.ARCHIVE:
        return await _load(docker, path, ref, say)
    with tempfile.TemporaryDirectory(prefix="flakeup-image-") as folder:
        archive = Path(folder) / "image.tar"
        say("writing the image")
        try:
            await process.write((str(path),), archive, timeout=STREAM_TIMEOUT)
        except ProcessError as error:
            remedy = "run it by hand to see more"
            text = message("the image's script failed", str(path), error.last_lines(6), remedy)
            raise DockerError(text) from error
        return await _load(docker, archive, ref, say)


async def _load(docker: Daemon, archive: Path, ref: str, say: Callable[[str], None]) -> str:
    manifest = await asyncio.to_thread(read_manifest, archive)
    say(f"sending the image, {manifest.size / 1e6:.0f} MB")
    before = {tag: await docker.find(f"/images/{segment(tag)}/json") for tag in manifest.tags}
    await docker.load(_chunks(archive))
    identity = await _identity(docker, manifest)
    name, _, tag = ref.rpartition(":")
    await _tag(docker, identity, name, tag)
    for other, was in before.items():
        if other == ref:
            continue
        if was is None:
            await docker.change("DELETE", f"/images/{segment(other)}?noprune=1")
        elif was["Id"] != identity:
            await _tag(docker, was["Id"], *_split(other))
    return identity


async def _identity(docker: Daemon, manifest: Manifest) -> str:
    """Docker's name for what was loaded, held against the archive where that can be done."""
    found = await docker.find(f"/images/{manifest.config}/json")
    if found:
        return str(found["Id"])
    status = (await docker.get("/info")).get("DriverStatus") or []
    is_containerd = any(_CONTAINERD in str(value) for _, value in status)
    if is_containerd and manifest.tags:
        return str((await docker.get(f"/images/{segment(manifest.tags[0])}/json"))["Id"])
    detail = f"the daemon has no image {manifest.config[:19]} after loading it"
    remedy = "look at dockerd's log"
    raise DockerError(message("the image was not loaded", docker.host, detail, remedy))


async def _tag(docker: Daemon, identity: str, name: str, tag: str) -> None:
    query = urlencode({"repo": name, "tag": tag})
    await docker.change("POST", f"/images/{segment(identity)}/tag?{query}")


def _split(ref: str) -> tuple[str, str]:
    name, _, tag = ref.rpartition(":")
    return name, tag


async def remove(docker: Daemon, ref: str) -> None:
    """Take the name off, and with the last one the image; one that is in use stays."""
    try:
        await docker.change("DELETE", f"/images/{segment(ref)}")
    except DockerError as error:
        if error.code not in {HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT}:
            raise


async def _chunks(archive: Path) -> AsyncIterator[bytes]:
    with archive.open("rb") as file:
        while chunk := await asyncio.to_thread(file.read, _CHUNK):
            yield chunk
