"""An image that nix has built, in a daemon, under a name that evaluation knows.

The name's tag is the hash of the store path. It is public before the image exists, so a name alone
is not believed, and never moved: the image that has it must be the one that was built. Docker's own
id (`sha256:…`) is the digest of the image's configuration, which the archive has; with containerd's
image store it is another digest, which is not known in advance, and the content is compared.
"""

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from ...errors import (
    DockerConflictError,
    DockerError,
    DockerNotFoundError,
    DockerRefusedError,
    ProcessError,
    message,
    printable,
)
from ...process import run
from .archive import Kind, Manifest, pieces, read_manifest
from .config import ImageConfig
from .daemon import Daemon, segment

STREAM_TIMEOUT: Final = 1800.0
"""Seconds for an image's own script to write it."""
_CONTAINERD: Final = "io.containerd.snapshotter"


async def ensure_loaded(
    docker: Daemon, built: Path, ref: str, report: Callable[[str], None]
) -> str:
    """Make sure that the daemon has the image under the name `ref`, and return its id.

    Raises:
        DockerError: it is not an image, the daemon refused it, or another image has the name.
        DockerUnavailableError: the daemon does not respond.
    """
    existing = await docker.find(f"/images/{segment(ref)}/json")
    async with archive_of(built, report) as archive:
        manifest = await asyncio.to_thread(read_manifest, archive)
        if existing is None:
            return await _load(docker, archive, manifest, ref, report)
        if await _is_built(docker, existing, manifest.config):
            return str(existing["Id"])
        raise name_taken(docker, ref, f"it is {existing['Id']}, not {manifest.config.digest}")


def name_taken(docker: Daemon, ref: str, detail: str) -> DockerError:
    """Return the error for a name that another image has in the daemon."""
    remedy = (
        "find out who loaded it (another machine's build of the same release counts as another "
        "image if its bytes differ), remove it with "
        f"`docker -H {docker.host} image rmi {ref}`, then run `pulumi up` again"
    )
    return DockerError(
        message("the daemon has another image under this name", ref, printable(detail, 300), remedy)
    )


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


async def _load(
    docker: Daemon, archive: Path, manifest: Manifest, ref: str, report: Callable[[str], None]
) -> str:
    report(f"loading the image, {manifest.size / 1e6:.0f} MB")
    try:
        await docker.load(in_thread(pieces(archive, manifest, ref)))
    except DockerRefusedError as error:
        remedy = "fix the image, or free disk space for dockerd"
        text = message("Docker refused the image", ref, error.reason, remedy)
        raise DockerError(text) from error
    found = await docker.find(f"/images/{segment(ref)}/json")
    if found and await _is_built(docker, found, manifest.config):
        return str(found["Id"])
    detail = f"the daemon has no image {manifest.config.digest[:19]} after loading it"
    raise DockerError(
        message("the image was not loaded", docker.host, detail, "check dockerd's log")
    )


async def _is_built(docker: Daemon, found: Mapping[str, Any], built: ImageConfig) -> bool:
    """Whether the daemon's image is the one that was built."""
    if found["Id"] == built.digest:
        return True
    if not await _uses_containerd_store(docker):
        return False
    try:
        return built.is_same_as(ImageConfig.of_inspected(found))
    except ValueError:
        return False


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

    If the name was removed while the image was in use, it has none: `image_id` finds it. A name
    that another image than `image_id` has by now is not ours.
    """
    named = await docker.find(f"/images/{segment(ref)}/json")
    if named and image_id in {"", named["Id"]}:
        await _try_remove(docker, ref)
    if not image_id:
        return
    seen = await docker.find(f"/images/{segment(image_id)}/json")
    if seen and not seen.get("RepoTags"):
        await _try_remove(docker, image_id)


async def _try_remove(docker: Daemon, name: str) -> None:
    """Remove an image, or its name; it may be gone, and one that is in use stays."""
    with contextlib.suppress(DockerNotFoundError, DockerConflictError):
        await docker.change("DELETE", f"/images/{segment(name)}")
