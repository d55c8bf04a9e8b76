"""An image archive as skopeo can read it: without compression.

skopeo 1.9 takes a docker-archive in gzip for a broken tar ("invalid tar header"; tried), and would
write it down decompressed itself where it does read one.
"""

import asyncio
import contextlib
import tarfile
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

from . import image


@contextlib.asynccontextmanager
async def plain(archive: Path) -> AsyncIterator[Path]:
    """The archive decompressed, for as long as the block takes, and seen to be whole.

    Raises:
        DockerError: it is no archive of one image, or was cut short.
    """
    if _is_plain(archive):
        await asyncio.to_thread(image.read_manifest, archive)
        yield archive
        return
    with tempfile.TemporaryDirectory(prefix="flakeup-image-") as folder:
        target = Path(folder) / "image.tar"
        await asyncio.to_thread(_decompress, archive, target)
        await asyncio.to_thread(image.read_manifest, target)
        yield target


def _is_plain(archive: Path) -> bool:
    try:
        tarfile.open(archive, "r:").close()
    except tarfile.ReadError:
        return False
    return True


def _decompress(archive: Path, target: Path) -> None:
    try:
        with tarfile.open(archive) as tar, target.open("wb") as file:
            if tar.fileobj is None:
                msg = "a file that is open has none"
                raise RuntimeError(msg)
            tar.fileobj.seek(0)
            while piece := tar.fileobj.read(1 << 20):
                file.write(piece)
    except image.BROKEN as error:
        raise image.not_whole(archive, str(error)) from error
