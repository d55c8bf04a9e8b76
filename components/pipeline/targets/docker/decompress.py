"""An image archive as skopeo can read it: without compression.

skopeo 1.9 takes a docker-archive in gzip for a broken tar ("invalid tar header"; tried), and would
write a decompressed copy itself where it does read one.
"""

import asyncio
import contextlib
import tarfile
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

from . import archive as archives
from .archive import CHUNK


@contextlib.asynccontextmanager
async def decompress(archive: Path) -> AsyncIterator[Path]:
    """Check that an archive is complete, and give it decompressed for as long as the block takes.

    Raises:
        DockerError: it is not an archive of one image, or is truncated.
    """
    if _is_plain(archive):
        await asyncio.to_thread(archives.read_manifest, archive)
        yield archive
        return
    with tempfile.TemporaryDirectory(prefix="flakeup-image-") as folder:
        target = Path(folder) / "image.tar"
        await asyncio.to_thread(_decompress, archive, target)
        await asyncio.to_thread(archives.read_manifest, target)
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
                msg = "an open archive has a file"
                raise RuntimeError(msg)
            tar.fileobj.seek(0)
            while piece := tar.fileobj.read(CHUNK):
                file.write(piece)
    except archives.READ_ERRORS as error:
        raise archives.damaged(archive, str(error)) from error
