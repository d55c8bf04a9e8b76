"""What nix has built for an image: an archive, or a script that writes one; and its manifest."""

import json
import lzma
import os
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from ...errors import DockerError, message, printable
from .config import ImageConfig

CHUNK: Final = 1 << 20
MANIFEST_LIMIT: Final = 4 * 1024 * 1024
READ_ERRORS: Final = (OSError, EOFError, tarfile.TarError, zlib.error, lzma.LZMAError)
"""What reading a damaged archive raises."""
_MANIFEST: Final = "manifest.json"
_ZSTD: Final = b"\x28\xb5\x2f\xfd"


class Kind(StrEnum):
    """What nix has built."""

    ARCHIVE = "archive"
    """A docker-archive, compressed or not (dockerTools.buildImage, buildLayeredImage)."""
    STREAM = "stream"
    """A script that writes one to stdout (dockerTools.streamLayeredImage)."""

    @classmethod
    def of(cls, path: Path) -> "Kind":
        """Tell by looking at it.

        Raises:
            DockerError: it is neither.
        """
        remedy = "the attribute must be an image built with dockerTools"
        if not path.exists():
            detail = "it is not in the Nix store of this machine"
            raise DockerError(message("not an image", str(path), detail, remedy))
        if path.is_file() and tarfile.is_tarfile(path):
            return cls.ARCHIVE
        if path.is_file() and os.access(path, os.X_OK):
            return cls.STREAM
        detail = "it is neither an image archive nor a script that writes one"
        if path.is_file() and _starts_with(path, _ZSTD):
            detail = "it is compressed with zstd, which is not supported"
            remedy = 'set compressor = "gz" or "none" in the image'
        raise DockerError(message("not an image", str(path), detail, remedy))


def _starts_with(path: Path, magic: bytes) -> bool:
    with path.open("rb") as file:
        return file.read(len(magic)) == magic


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What an archive says about its image."""

    config: ImageConfig
    tags: tuple[str, ...]
    """The names that loading the unchanged archive would give to the image."""
    size: int
    """Bytes of the archive."""
    image: Mapping[str, Any]
    """The image's entry in `manifest.json`."""
    span: tuple[int, int]
    """Where in the decompressed archive `manifest.json` begins and ends, with its header."""

    def renamed(self, ref: str) -> bytes:
        """Return a tar member `manifest.json` in which the image has the name `ref` alone."""
        content = json.dumps([{**self.image, "RepoTags": [ref]}]).encode()
        info = tarfile.TarInfo(_MANIFEST)
        info.size, info.mode = len(content), 0o644
        return info.tobuf() + content + bytes(_padding(len(content)))


def read_manifest(archive: Path) -> Manifest:
    """Read `manifest.json`, and the archive to its end, where a truncated one fails.

    Raises:
        DockerError: it is not an archive of one image, or is truncated.
    """
    try:
        members, texts = _read_members(archive)
        images = json.loads(texts.get(_MANIFEST, b"[]"))
        parts = [(str(one["Config"]), *map(str, one["Layers"])) for one in images]
    except (*READ_ERRORS, ValueError) as error:
        raise damaged(archive, str(error)) from error
    except (KeyError, TypeError) as error:
        raise damaged(archive, f"its {_MANIFEST} is malformed") from error
    if len(images) != 1:
        detail = f"it has {len(images)} images" if images else f"it has no {_MANIFEST}"
        remedy = "the attribute must be one image built with dockerTools"
        raise DockerError(message("not an image archive", str(archive), detail, remedy))
    for name in parts[0]:
        if name not in members:
            raise damaged(archive, f"{printable(name, 100)} is missing")
    member, image = members[_MANIFEST], images[0]
    return Manifest(
        config=_read_config(archive, members[parts[0][0]], texts),
        tags=tuple(image.get("RepoTags") or ()),
        size=archive.stat().st_size,
        image=image,
        span=(member.offset, member.offset_data + member.size + _padding(member.size)),
    )


def _read_members(archive: Path) -> tuple[dict[str, tarfile.TarInfo], dict[str, bytes]]:
    """The members by name, and the content of the JSON files, in one pass.

    To go back in a compressed archive is to decompress it again.
    """
    members, texts = dict[str, tarfile.TarInfo](), dict[str, bytes]()
    with tarfile.open(archive) as tar:
        for one in tar:
            members[one.name] = one
            if one.name.endswith(".json") and (file := tar.extractfile(one)):
                texts[one.name] = file.read(MANIFEST_LIMIT)
    return members, texts


def _read_config(archive: Path, member: tarfile.TarInfo, texts: Mapping[str, bytes]) -> ImageConfig:
    """The configuration; its digest is that of its bytes, whatever its file is called."""
    try:
        if (content := texts.get(member.name)) is None:
            with tarfile.open(archive) as tar:
                file = tar.extractfile(member)
                content = file.read(MANIFEST_LIMIT) if file else b""
        return ImageConfig.parse(content)
    except (*READ_ERRORS, ValueError) as error:
        raise damaged(archive, str(error)) from error


def pieces(archive: Path, manifest: Manifest, ref: str) -> Iterator[bytes]:
    """Give the archive decompressed, with `ref` as the only name of its image.

    A name that the archive brings itself, such as `app:latest`, may be a user's own in the daemon.
    If it were only restored after loading, an interruption in between would move it for good.
    """
    begin, end = manifest.span
    with tarfile.open(archive) as tar:
        file = tar.fileobj
        if file is None:
            msg = "an open archive has a file"
            raise RuntimeError(msg)
        file.seek(0)
        while begin > 0:
            piece = file.read(min(CHUNK, begin))
            begin -= len(piece)
            yield piece
        yield manifest.renamed(ref)
        file.seek(end)
        while piece := file.read(CHUNK):
            yield piece


def _padding(size: int) -> int:
    """Return how many bytes there are up to the next block of a tar."""
    return -size % tarfile.BLOCKSIZE


def damaged(archive: Path, detail: str) -> DockerError:
    """Return the error for an archive that is damaged or truncated."""
    detail = printable(detail, 300)
    remedy = "build it again (`nix store repair` if the store is damaged)"
    return DockerError(message("damaged image archive", str(archive), detail, remedy))
