"""An image that nix has built, in a daemon, under a name that evaluation knows.

The name's tag is the hash of the store path, and is never moved: an image that has this name is
the right one. Docker's own id (`sha256:…`) is the digest of the image's configuration, which the
archive says; with containerd's image store it is another digest, which is not known in advance.
"""

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Final

from ...errors import (
    DockerConflictError,
    DockerError,
    DockerNotFoundError,
    DockerRefusedError,
    ProcessError,
    message,
)
from ...process import run
from .archive import Kind, pieces, read_manifest
from .daemon import Daemon, segment

STREAM_TIMEOUT: Final = 1800.0
"""Seconds for an image's own script to write it."""
_CONTAINERD: Final = "io.containerd.snapshotter"


async def ensure_loaded(
    docker: Daemon, built: Path, ref: str, report: Callable[[str], None]
) -> str:
    """Make sure that the daemon has the image under the name `ref`, and return its id.

    Raises:
        DockerError: it is not an image, or the daemon refused it.
        DockerUnavailableError: the daemon does not respond.
    """
    if existing := await docker.find(f"/images/{segment(ref)}/json"):
        return str(existing["Id"])
    async with archive_of(built, report) as archive:
        return await _load(docker, archive, ref, report)


@contextlib.asynccontextmanager
async def archive_of(built: Path, report: Callable[[str], None]) -> AsyncIterator[Path]:
    """Give the image as an archive, for as long as the block takes.

    Raises:
        DockerError: it is not an image, or its script fails.
    """
    if Kind.of(built) is Kind.ARCHIVE:
        yield built
        return
    with tempfile.TemporaryDirectory(prefix="flakeup-image-") as folder:
        archive = Path(folder) / "image.tar"
        report("writing the image")
        try:
            await run.write((str(built),), archive, timeout=STREAM_TIMEOUT)
        except ProcessError as error:
            detail, remedy = error.last_lines(6), "run it by hand to see more"
            text = message("the image's script failed", str(built), detail, remedy)
            raise DockerError(text) from error
        yield archive


async def _load(docker: Daemon, archive: Path, ref: str, report: Callable[[str], None]) -> str:
    manifest = await asyncio.to_thread(read_manifest, archive)
    report(f"loading the image, {manifest.size / 1e6:.0f} MB")
    try:
        await docker.load(in_thread(pieces(archive, manifest, ref)))
    except DockerRefusedError as error:
        remedy = "fix the image, or free disk space for dockerd"
        text = message("Docker refused the image", ref, error.reason, remedy)
        raise DockerError(text) from error
    found = await docker.find(f"/images/{segment(ref)}/json")
    if found and (found["Id"] == manifest.config or await _uses_containerd_store(docker)):
        return str(found["Id"])
    detail = f"the daemon has no image {manifest.config[:19]} after loading it"
    raise DockerError(
        message("the image was not loaded", docker.host, detail, "check dockerd's log")
    )


async def in_thread(pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
    """Read from disk, and decompress, without holding up the loop."""
    while (piece := await asyncio.to_thread(next, pieces, None)) is not None:
        yield piece


async def _uses_containerd_store(docker: Daemon) -> bool:
    """Return whether an image's id is something else than the digest of its configuration."""
    status = (await docker.get("/info")).get("DriverStatus") or []
    return any(_CONTAINERD in str(value) for _, value in status)


async def remove(docker: Daemon, ref: str, image_id: str = "") -> None:
    """Remove the name, and with an image's last name the image; one that is in use stays.

    If the name was removed while the image was in use, it has none: `image_id` finds it.
    """
    if await _try_remove(docker, ref) or not image_id:
        return
    seen = await docker.find(f"/images/{segment(image_id)}/json")
    if seen and not seen.get("RepoTags"):
        await _try_remove(docker, image_id)


async def _try_remove(docker: Daemon, name: str) -> bool:
    """Return whether there was such an image; one that is in use stays."""
    try:
        await docker.change("DELETE", f"/images/{segment(name)}")
    except DockerNotFoundError:
        return False
    except DockerConflictError:
        return True
    return True
