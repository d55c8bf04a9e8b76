"""What nix has built to an image in a daemon, under a name that evaluation knows.

The name's tag is the hash of the store path, so it is never moved: an image of that name is the
right one. Docker's own name (`sha256:…`) is the digest of the image's configuration, which the
archive says; with containerd's image store it is another one, which nobody knows before.
"""

import asyncio
import contextlib
import json
import lzma
import os
import re
import tarfile
import tempfile
import zlib
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

from ...errors import DockerAwayError, DockerError, ProcessError, message, printable
from ...process import run
from .daemon import Daemon, segment

STREAM_TIMEOUT: Final = 1800.0
"""Seconds for an image's own script to write it."""
MANIFEST_LIMIT: Final = 4 * 1024 * 1024
_CHUNK: Final = 1 << 20
_CONFIG: Final = re.compile(r"^(?:blobs/sha256/)?([0-9a-f]{64})(?:\.json)?$")
_CONTAINERD: Final = "io.containerd.snapshotter"
_MANIFEST: Final = "manifest.json"
_ZSTD: Final = b"\x28\xb5\x2f\xfd"
BROKEN: Final = (OSError, EOFError, tarfile.TarError, zlib.error, lzma.LZMAError)
"""What reading an archive that is damaged raises."""


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
        if path.is_file() and tarfile.is_tarfile(path):
            return cls.ARCHIVE
        if path.is_file() and os.access(path, os.X_OK):
            return cls.STREAM
        detail, start = "it is neither an image archive nor a script that writes one", b""
        if path.is_file():
            with path.open("rb") as file:
                start = file.read(len(_ZSTD))
        if start == _ZSTD:
            detail = "it is compressed with zstd, which cannot be looked into"
            remedy = 'write compressor = "gz" or "none" in the image'
        raise DockerError(message("not an image", str(path), detail, remedy))


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What an archive says of its image."""

    config: str
    """`sha256:…` of its configuration."""
    tags: tuple[str, ...]
    """The names that loading it as it is would give to the image."""
    size: int
    """Bytes of the archive."""
    image: Mapping[str, Any]
    """The image's entry in `manifest.json`."""
    place: tuple[int, int]
    """Where in the archive, once it is decompressed, `manifest.json` begins and ends."""

    def renamed(self, ref: str) -> bytes:
        """The `manifest.json` of the archive with another name, as it is in a tar."""
        content = json.dumps([{**self.image, "RepoTags": [ref]}]).encode()
        info = tarfile.TarInfo(_MANIFEST)
        info.size, info.mode = len(content), 0o644
        return info.tobuf() + content + bytes(_padding(len(content)))


def read_manifest(archive: Path) -> Manifest:
    """Read `manifest.json`; the archive is read to its end, as one that was cut short shows there.

    Raises:
        DockerError: it is no archive of one image, or was cut short.
    """
    try:
        with tarfile.open(archive) as tar:
            members = {one.name: one for one in tar.getmembers()}
            file = tar.extractfile(members[_MANIFEST]) if _MANIFEST in members else None
            images = json.loads(file.read(MANIFEST_LIMIT) if file else b"[]")
        parts = [(str(one["Config"]), *map(str, one["Layers"])) for one in images]
    except (*BROKEN, ValueError) as error:
        raise not_whole(archive, str(error)) from error
    except (KeyError, TypeError) as error:
        raise not_whole(archive, f"its {_MANIFEST} is none") from error
    if len(images) != 1:
        detail = f"it has {len(images)} images" if images else f"it has no {_MANIFEST}"
        remedy = "the attribute has to be one image of dockerTools"
        raise DockerError(message("not an image archive", str(archive), detail, remedy))
    for name in parts[0]:
        if name not in members:
            raise not_whole(archive, f"{printable(name, 100)} is not in it")
    at, image = members[_MANIFEST], images[0]
    return Manifest(
        config=_CONFIG.sub(r"sha256:\1", parts[0][0]),
        tags=tuple(image.get("RepoTags") or ()),
        size=archive.stat().st_size,
        image=image,
        place=(at.offset, at.offset_data + at.size + _padding(at.size)),
    )


def _padding(size: int) -> int:
    """Bytes up to the next block of a tar."""
    return -size % tarfile.BLOCKSIZE


def not_whole(archive: Path, detail: str) -> DockerError:
    """What is told of an archive that was cut short, or is damaged."""
    detail = printable(detail, 300)
    remedy = "build it again (`nix store repair` where the store is damaged)"
    return DockerError(message("not a whole image archive", str(archive), detail, remedy))


async def ensure(docker: Daemon, built: Path, ref: str, say: Callable[[str], None]) -> str:
    """Have the image in the daemon under the name `ref`; gives Docker's own name for it.

    Raises:
        DockerError: it is no image, or the daemon refused it.
        DockerAwayError: no daemon answers.
    """
    if there := await docker.find(f"/images/{segment(ref)}/json"):
        return str(there["Id"])
    async with archive_of(built, say) as archive:
        return await _load(docker, archive, ref, say)


@contextlib.asynccontextmanager
async def archive_of(built: Path, say: Callable[[str], None]) -> AsyncIterator[Path]:
    """The image as an archive, for as long as the block takes.

    Raises:
        DockerError: it is no image, or its script fails.
    """
    if Kind.of(built) is Kind.ARCHIVE:
        yield built
        return
    with tempfile.TemporaryDirectory(prefix="flakeup-image-") as folder:
        archive = Path(folder) / "image.tar"
        say("writing the image")
        try:
            await run.write((str(built),), archive, timeout=STREAM_TIMEOUT)
        except ProcessError as error:
            detail, remedy = error.last_lines(6), "run it by hand to see more"
            text = message("the image's script failed", str(built), detail, remedy)
            raise DockerError(text) from error
        yield archive


async def _load(docker: Daemon, archive: Path, ref: str, say: Callable[[str], None]) -> str:
    manifest = await asyncio.to_thread(read_manifest, archive)
    say(f"sending the image, {manifest.size / 1e6:.0f} MB")
    try:
        await docker.load(_pieces(archive, manifest, ref))
    except DockerAwayError:
        raise
    except DockerError as error:
        remedy = "mend the image, or make room where dockerd keeps its own"
        text = message("Docker refused the image", ref, str(error), remedy)
        raise DockerError(text, code=error.code) from error
    found = await docker.find(f"/images/{segment(ref)}/json")
    if found and (found["Id"] == manifest.config or await _has_names_of_its_own(docker)):
        return str(found["Id"])
    detail = f"the daemon has no image {manifest.config[:19]} after loading it"
    raise DockerError(
        message("the image was not loaded", docker.host, detail, "look at dockerd's log")
    )


async def _has_names_of_its_own(docker: Daemon) -> bool:
    """Whether the daemon calls an image otherwise than by its configuration."""
    status = (await docker.get("/info")).get("DriverStatus") or []
    return any(_CONTAINERD in str(value) for _, value in status)


async def _pieces(archive: Path, manifest: Manifest, ref: str) -> AsyncIterator[bytes]:
    """The archive as it is sent: decompressed, and with `ref` as the only name of its image.

    A name that the archive brings itself, such as `app:latest`, may be a user's own here. Were it
    only put back after loading, whoever is cut off in between would have moved it for good.
    """
    begin, end = manifest.place
    with tarfile.open(archive) as tar:
        file = tar.fileobj
        if file is None:
            msg = "a file that is open has none"
            raise RuntimeError(msg)
        file.seek(0)
        while begin > 0:
            piece = await asyncio.to_thread(file.read, min(_CHUNK, begin))
            begin -= len(piece)
            yield piece
        yield manifest.renamed(ref)
        file.seek(end)
        while piece := await asyncio.to_thread(file.read, _CHUNK):
            yield piece


async def remove(docker: Daemon, ref: str, identity: str = "") -> None:
    """Take the name off, and with the last one the image; one that is in use stays.

    One whose name somebody has taken off while it was in use is left without any: it is found by
    Docker's own name for it.
    """
    if await _try_remove(docker, ref) or not identity:
        return
    seen = await docker.find(f"/images/{segment(identity)}/json")
    if seen and not seen.get("RepoTags"):
        await _try_remove(docker, identity)


async def _try_remove(docker: Daemon, name: str) -> bool:
    """Whether there was such a name; what is in use stays."""
    try:
        await docker.change("DELETE", f"/images/{segment(name)}")
    except DockerError as error:
        if error.code not in {HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT}:
            raise
        return error.code != HTTPStatus.NOT_FOUND
    return True
