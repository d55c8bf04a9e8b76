"""Split images, made of two files of the store: metadata and root file system.

Incus identifies an image by its fingerprint: the SHA-256 of the metadata's bytes followed by the
root's (Incus's documentation, reference/image_format). So the fingerprint is known before anything
is uploaded, and an image that the server has under it is the same image.
"""

import asyncio
import hashlib
import struct
import tarfile
import zlib
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from lzma import LZMAError
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

import yaml

from ...errors import (
    IncusConflictError,
    IncusError,
    IncusNotFoundError,
    IncusUnavailableError,
    message,
    printable,
)
from ...values import StorePath
from .api import Incus, segment, with_query
from .ownership import ImageReference

UPLOADED: Final = "user.flakeup"
"""Property of an image that flakeup has uploaded: no other image is ever removed."""
METADATA_LIMIT: Final = 1024 * 1024
_MAGIC: Final = b"hsqs"
_USED: Final = struct.Struct("<40xQ")
"""The size of a squashfs in bytes (`bytes_used` of its superblock)."""
_CHUNK: Final = 1 << 20
_REBUILD: Final = "build it again (`nix store repair` where the store is damaged)"
_ATTEMPTS: Final = 20
"""Attempts to change an image's properties: other stacks may change them at the same moment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageFiles:
    """The two files of an image."""

    metadata: Path
    rootfs: Path

    @classmethod
    def of(cls, metadata: StorePath, rootfs: StorePath) -> "ImageFiles":
        """The files in what NixOS builds as `system.build.metadata` and `system.build.squashfs`.

        Raises:
            IncusError: one is missing.
        """
        return cls(
            metadata=_find_file(Path(metadata.path), ("tarball/*.tar*", "*.tar*")),
            rootfs=_find_file(Path(rootfs.path), ("*.squashfs", "*.img")),
        )

    async def fingerprint(self) -> str:
        """The fingerprint that Incus will give the image."""
        return await asyncio.to_thread(_digest, (self.metadata, self.rootfs))

    def check(self, architectures: list[str]) -> None:
        """Check for faults that the server would report late, or not at all.

        Raises:
            IncusError: truncated, of another kind, or for another architecture.
        """
        made_for = _architecture(self.metadata)
        if made_for not in architectures:
            detail = f"it is for {printable(made_for)}, and the server runs {architectures[0]}"
            remedy = "set `image` to a system whose nixpkgs.hostPlatform is the server's"
            raise IncusError(message("wrong architecture", str(self.metadata), detail, remedy))
        _check_squashfs(self.rootfs)


def _find_file(path: Path, patterns: tuple[str, ...]) -> Path:
    """The only file in a store path that matches a pattern; or the store path, if it is a file."""
    if path.is_file():
        return path
    for pattern in patterns:
        found = sorted(path.glob(pattern))
        if len(found) == 1:
            return found[0]
    detail = f"it contains no {patterns[0]}" if path.is_dir() else "it is not in this store"
    remedy = "set `image` to a system that imports NixOS's lxc-container.nix"
    raise IncusError(message("not an Incus image", str(path), detail, remedy))


def _digest(files: tuple[Path, ...]) -> str:
    digest = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
    return digest.hexdigest()


def _architecture(metadata: Path) -> str:
    try:
        with tarfile.open(metadata) as tar:
            file = tar.extractfile("metadata.yaml")
            content = yaml.safe_load(file.read(METADATA_LIMIT) if file else b"")
            # Read to the end: truncated metadata would only fail when an instance is created.
            while tar.fileobj.read(_CHUNK):
                pass
    except KeyError:
        why = "it contains no metadata.yaml"
    except (OSError, EOFError, tarfile.TarError, yaml.YAMLError, LZMAError, zlib.error) as error:
        why = str(error)
    else:
        # Incus 6.0.4 crashes if the upload sets properties and the metadata has none of its own.
        fields = content if isinstance(content, Mapping) else {}
        missing = [key for key in ("architecture", "properties") if fields.get(key) is None]
        if not missing and isinstance(fields["properties"], Mapping):
            return str(fields["architecture"])
        why = f"its metadata.yaml has no {' and no '.join(missing) or 'map of properties'}"
    raise IncusError(message("not an image's metadata", str(metadata), why, _REBUILD))


def _check_squashfs(rootfs: Path) -> None:
    with rootfs.open("rb") as file:
        head = file.read(_USED.size)
    if not head.startswith(_MAGIC) or len(head) < _USED.size:
        remedy = "flakeup uploads split images: use `system.build.squashfs`, no tarball or disk"
        raise IncusError(message("not a squashfs", str(rootfs), "wrong magic number", remedy))
    (used,) = _USED.unpack(head)
    if used > (size := rootfs.stat().st_size):
        detail = f"it should have {used} bytes, and has {size}"
        raise IncusError(message("truncated image", str(rootfs), detail, _REBUILD))


async def list_fingerprints(incus: Incus) -> frozenset[str]:
    """The fingerprints of all images of the project, in one request."""
    urls = await incus.get("/1.0/images")
    return frozenset(str(url).rpartition("/")[2].partition("?")[0] for url in urls)


async def ensure(
    incus: Incus,
    files: ImageFiles,
    reference: ImageReference,
    description: str,
    say: Callable[[str], None],
) -> str:
    """Upload the image unless the server has it, and add a reference; returns its fingerprint.

    Raises:
        IncusError: refused; an upload that fails leaves nothing on the server.
        IncusUnavailableError: the server does not respond.
    """
    fingerprint = await files.fingerprint()
    if await _add_reference(incus, fingerprint, reference):
        return fingerprint
    await _check_target(incus, files)
    size = files.metadata.stat().st_size + files.rootfs.stat().st_size
    say(f"uploading the image, {size / 1e6:.0f} MB")
    properties = {"description": description, UPLOADED: "image", reference.key: reference.files}
    headers = {
        "X-Incus-fingerprint": fingerprint,
        "X-Incus-properties": urlencode(properties),
        "X-Incus-public": "0",
    }
    parts = {"metadata": files.metadata, "rootfs": files.rootfs}
    try:
        await incus.upload("/1.0/images", parts, headers)
    except IncusUnavailableError:
        raise
    except IncusError:
        # Another stack, or another process of ours, may have uploaded the same image meanwhile.
        if not await _add_reference(incus, fingerprint, reference):
            raise
    return fingerprint


async def _check_target(incus: Incus, files: ImageFiles) -> None:
    """Check what the server would only report by closing the connection during the upload."""
    if await incus.find(f"/1.0/projects/{segment(incus.project)}") is None:
        remedy = f"use one that `incus project list {incus.remote.name}:` shows, or create it"
        raise IncusError(message("no such project", incus.project, incus.remote.name, remedy))
    server = await incus.get("/1.0")
    files.check(list(server["environment"]["architectures"]))


async def remove_reference(incus: Incus, fingerprint: str, reference: ImageReference) -> None:
    """Remove a reference, and the image with it if it was the last one.

    The image is kept while it has another reference, while an instance exists that was created
    from it (it may be rebuilt from it), and if flakeup has not uploaded it.
    """

    async def remove(image: dict[str, Any], etag: str) -> None:
        properties: dict[str, str] = image["properties"]
        if properties.get(reference.key, reference.files) != reference.files:
            return
        others = {key for key in properties if key.startswith(ImageReference.PREFIX)} - {
            reference.key
        }
        is_ours = properties.get(UPLOADED) == "image"
        if is_ours and not others and not await _instances_created_from(incus, fingerprint):
            await incus.change("DELETE", _path(fingerprint))
        elif reference.key in properties:
            kept = {key: text for key, text in properties.items() if key != reference.key}
            await incus.change("PUT", _path(fingerprint), _body(image, kept), etag=etag)

    await _change_with_retry(incus, fingerprint, remove)


async def prune(incus: Incus, keep: str = "", reference: ImageReference | None = None) -> list[str]:
    """Remove uploaded images without references that no instance was created from.

    Such images are left behind when an instance outlives the last reference to its image. A
    reference of the same resource on an image other than `keep` belongs to a state that was lost,
    as a resource uses one image: it is removed, too.
    """
    removed = []
    for image in await incus.get(with_query("/1.0/images", recursion="1")):
        properties, fingerprint = image["properties"], str(image["fingerprint"])
        if fingerprint == keep or properties.get(UPLOADED) != "image":
            continue
        references = {key for key in properties if key.startswith(ImageReference.PREFIX)}
        if reference and reference.key in references:
            await remove_reference(
                incus, fingerprint, replace(reference, files=properties[reference.key])
            )
        elif not references and not await _instances_created_from(incus, fingerprint):
            with suppress(IncusNotFoundError):
                await incus.change("DELETE", _path(fingerprint))
                removed.append(fingerprint)
    return removed


async def _add_reference(incus: Incus, fingerprint: str, reference: ImageReference) -> bool:
    """Add a reference to an image; False if there is no such image."""

    async def add(image: dict[str, Any], etag: str) -> None:
        properties = {**image["properties"], reference.key: reference.files}
        await incus.change("PUT", _path(fingerprint), _body(image, properties), etag=etag)

    for _ in range(_ATTEMPTS):
        image = await incus.find(_path(fingerprint))
        # Read back after the write: of two simultaneous changes, Incus may lose one.
        if image is None or image["properties"].get(reference.key) == reference.files:
            return image is not None
        await _change_with_retry(incus, fingerprint, add)
    raise IncusError(_conflict(fingerprint))


async def _change_with_retry(
    incus: Incus, fingerprint: str, change: Callable[[dict[str, Any], str], Awaitable[None]]
) -> bool:
    """Change an image, again if another client changed it meanwhile; False if there is none."""
    for _ in range(_ATTEMPTS):
        try:
            await change(*await incus.get_with_etag(_path(fingerprint)))
        except IncusNotFoundError:
            return False
        except IncusConflictError:
            continue
        else:
            return True
    raise IncusError(_conflict(fingerprint))


def _conflict(fingerprint: str) -> str:
    what = "concurrent changes to an image"
    return message(
        what, fingerprint[:12], "other clients keep changing it", "run `pulumi up` again"
    )


def _path(fingerprint: str) -> str:
    return f"/1.0/images/{segment(fingerprint)}"


def _body(image: dict[str, Any], properties: dict[str, str]) -> dict[str, Any]:
    kept = ("auto_update", "public", "expires_at", "profiles")
    return {**{key: image[key] for key in kept if key in image}, "properties": properties}


async def _instances_created_from(incus: Incus, fingerprint: str) -> list[str]:
    """Instances of all projects that were, or may have been, created from an image.

    Projects may share their images.
    """
    instances = await incus.get(with_query("/1.0/instances", recursion="1", all_projects="true"))
    return [
        str(one["name"])
        for one in instances
        # None if its cluster member is offline.
        if one["config"] is None or one["config"].get("volatile.base_image") == fingerprint
    ]
