"""A split image, made of two files of the store: metadata and root file system.

Incus names it by the digest of both (sha256 of the metadata's bytes, then the root's), so its
name is known before anything is sent, and an image that is there already is the same one
(Incus's documentation, reference/image_format).
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
    IncusAwayError,
    IncusConflictError,
    IncusError,
    IncusNotFoundError,
    message,
    printable,
)
from ...values import StorePath
from .api import Incus, asked, segment
from .ownership import Use

UPLOADED: Final = "user.flakeup"
"""Property of an image that flakeup has sent: no other is ever removed."""
METADATA_LIMIT: Final = 1024 * 1024
_MAGIC: Final = b"hsqs"
_USED: Final = struct.Struct("<40xQ")
"""Where a squashfs says how many bytes it has (`bytes_used` of its superblock)."""
_CHUNK: Final = 1 << 20
_REMEDY: Final = "build it again (`nix store repair` where the store is damaged)"
_AGAIN: Final = 20
"""Times that a mark is tried: another stack may set its own at the same moment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageFiles:
    """The two files of an image."""

    metadata: Path
    rootfs: Path

    @classmethod
    def of(cls, metadata: StorePath, rootfs: StorePath) -> "ImageFiles":
        """The files in what NixOS builds as `system.build.metadata` and `system.build.squashfs`.

        Raises:
            IncusError: one is not there, or is something else.
        """
        return cls(
            metadata=_only(Path(metadata.path), ("tarball/*.tar*", "*.tar*")),
            rootfs=_only(Path(rootfs.path), ("*.squashfs", "*.img")),
        )

    async def fingerprint(self) -> str:
        """The name that Incus will give it."""
        return await asyncio.to_thread(_digest, (self.metadata, self.rootfs))

    def check(self, architectures: list[str]) -> None:
        """Look at what would only fail later, or be imported all the same.

        Raises:
            IncusError: cut short, of another kind, or for another processor.
        """
        made_for = _architecture(self.metadata)
        if made_for not in architectures:
            detail = f"it is made for {printable(made_for)}, and the server runs {architectures[0]}"
            remedy = "name a system in `image` whose nixpkgs.hostPlatform is the server's"
            raise IncusError(message("wrong architecture", str(self.metadata), detail, remedy))
        _check_squashfs(self.rootfs)


def _only(place: Path, patterns: tuple[str, ...]) -> Path:
    """The one file in a store path that has such a name; or the store path itself, a file."""
    if place.is_file():
        return place
    for pattern in patterns:
        found = sorted(place.glob(pattern))
        if len(found) == 1:
            return found[0]
    detail = f"it holds no {patterns[0]}" if place.is_dir() else "it is not in this store"
    remedy = "`image` has to name a system that imports NixOS's lxc-container.nix"
    raise IncusError(message("not an Incus image", str(place), detail, remedy))


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
            said = yaml.safe_load(file.read(METADATA_LIMIT) if file else b"")
            # To its end: what is cut off there would be missed when an instance is made.
            while tar.fileobj.read(_CHUNK):
                pass
    except KeyError:
        why = "it holds no metadata.yaml"
    except (OSError, EOFError, tarfile.TarError, yaml.YAMLError, LZMAError, zlib.error) as error:
        why = str(error)
    else:
        # Without properties of its own, those that are sent along end the whole server (6.0.4).
        lacking = [key for key in ("architecture", "properties") if _of(said).get(key) is None]
        if not lacking and isinstance(said["properties"], Mapping):
            return str(said["architecture"])
        why = f"its metadata.yaml has no {' and no '.join(lacking) or 'map of properties'}"
    raise IncusError(message("not an image's metadata", str(metadata), why, _REMEDY))


def _of(said: object) -> Mapping[str, Any]:
    return said if isinstance(said, Mapping) else {}


def _check_squashfs(rootfs: Path) -> None:
    with rootfs.open("rb") as file:
        head = file.read(_USED.size)
    if not head.startswith(_MAGIC) or len(head) < _USED.size:
        remedy = "flakeup sends split images: `system.build.squashfs`, and no tarball or disk"
        raise IncusError(message("not a squashfs", str(rootfs), "no such file system", remedy))
    (used,) = _USED.unpack(head)
    if used > (there := rootfs.stat().st_size):
        detail = f"it should have {used} bytes, and has {there}"
        raise IncusError(message("cut short", str(rootfs), detail, _REMEDY))


async def fingerprints(incus: Incus) -> frozenset[str]:
    """All images of the project: one request."""
    addresses = await incus.get("/1.0/images")
    return frozenset(str(address).rpartition("/")[2].partition("?")[0] for address in addresses)


async def ensure(
    incus: Incus, files: ImageFiles, use: Use, text: str, say: Callable[[str], None]
) -> str:
    """Have the image on the server, marked as used; gives its fingerprint.

    `text` describes it to people who list images.

    Raises:
        IncusError: refused; nothing half-sent stays, as Incus keeps none.
        IncusAwayError: no server answers.
    """
    fingerprint = await files.fingerprint()
    if await _mark(incus, fingerprint, use):
        return fingerprint
    await _check_place(incus, files)
    size = files.metadata.stat().st_size + files.rootfs.stat().st_size
    say(f"sending the image, {size / 1e6:.0f} MB")
    properties = {"description": text, UPLOADED: "image", use.key: use.files}
    headers = {
        "X-Incus-fingerprint": fingerprint,
        "X-Incus-properties": urlencode(properties),
        "X-Incus-public": "0",
    }
    parts = {"metadata": files.metadata, "rootfs": files.rootfs}
    try:
        await incus.upload("/1.0/images", parts, headers)
    except IncusAwayError:
        raise
    except IncusError:
        # Another stack, or another process of ours, may have sent the same one meanwhile.
        if not await _mark(incus, fingerprint, use):
            raise
    return fingerprint


async def _check_place(incus: Incus, files: ImageFiles) -> None:
    """What the server would only say by hanging up in the middle of the files."""
    if await incus.find(f"/1.0/projects/{segment(incus.project)}") is None:
        remedy = f"write one that `incus project list {incus.remote.name}:` shows, or make it"
        raise IncusError(message("no such project", incus.project, incus.remote.name, remedy))
    server = await incus.get("/1.0")
    files.check(list(server["environment"]["architectures"]))


async def release(incus: Incus, fingerprint: str, use: Use) -> None:
    """Take the mark off, and remove the image where nobody needs it any more.

    It stays where there is another mark on it, where an instance was made from it (it may be
    rebuilt from it), and where somebody else has brought it.
    """

    async def give_up(image: dict[str, Any], tag: str) -> None:
        properties: dict[str, str] = image["properties"]
        if properties.get(use.key, use.files) != use.files:
            return
        others = {key for key in properties if key.startswith(Use.PREFIX)} - {use.key}
        is_ours = properties.get(UPLOADED) == "image"
        if is_ours and not others and not await _instances(incus, fingerprint):
            await incus.change("DELETE", _path(fingerprint))
        elif use.key in properties:
            kept = {key: text for key, text in properties.items() if key != use.key}
            await incus.change("PUT", _path(fingerprint), _body(image, kept), tag=tag)

    await _hold(incus, fingerprint, give_up)


async def prune(incus: Incus, keep: str = "", use: Use | None = None) -> list[str]:
    """Remove images of ours that have no mark on them and that no instance was made from.

    They stay behind where an instance was made from one whose stack has moved on since. A mark of
    `use` on another image than `keep` is of a state that was lost: one resource uses one image.
    """
    gone = []
    for image in await incus.get(asked("/1.0/images", recursion="1")):
        properties, fingerprint = image["properties"], str(image["fingerprint"])
        if fingerprint == keep or properties.get(UPLOADED) != "image":
            continue
        marks = {key for key in properties if key.startswith(Use.PREFIX)}
        if use and use.key in marks:
            await release(incus, fingerprint, replace(use, files=properties[use.key]))
        elif not marks and not await _instances(incus, fingerprint):
            with suppress(IncusNotFoundError):
                await incus.change("DELETE", _path(fingerprint))
                gone.append(fingerprint)
    return gone


async def _mark(incus: Incus, fingerprint: str, use: Use) -> bool:
    """Mark an image as used; False where there is none."""

    async def mark(image: dict[str, Any], tag: str) -> None:
        properties = {**image["properties"], use.key: use.files}
        await incus.change("PUT", _path(fingerprint), _body(image, properties), tag=tag)

    for _ in range(_AGAIN):
        image = await incus.find(_path(fingerprint))
        # Also looked at after it was written: of two changes at a time, Incus may forget one.
        if image is None or image["properties"].get(use.key) == use.files:
            return image is not None
        await _hold(incus, fingerprint, mark)
    raise IncusError(_flux(fingerprint))


async def _hold(
    incus: Incus, fingerprint: str, change: Callable[[dict[str, Any], str], Awaitable[None]]
) -> bool:
    """Change an image as it is now, and again where somebody was faster; False: there is none."""
    for _ in range(_AGAIN):
        try:
            await change(*await incus.tagged(_path(fingerprint)))
        except IncusNotFoundError:
            return False
        except IncusConflictError:
            continue
        else:
            return True
    raise IncusError(_flux(fingerprint))


def _flux(fingerprint: str) -> str:
    return message("image in flux", fingerprint[:12], "others keep changing it", "run it again")


def _path(fingerprint: str) -> str:
    return f"/1.0/images/{segment(fingerprint)}"


def _body(image: dict[str, Any], properties: dict[str, str]) -> dict[str, Any]:
    kept = ("auto_update", "public", "expires_at", "profiles")
    return {**{key: image[key] for key in kept if key in image}, "properties": properties}


async def _instances(incus: Incus, fingerprint: str) -> list[str]:
    """The instances that were made from an image, or may be; projects may share their images."""
    instances = await incus.get(asked("/1.0/instances", recursion="1", all_projects="true"))
    return [
        str(one["name"])
        for one in instances
        # None: its member of the cluster does not answer.
        if one["config"] is None or one["config"].get("volatile.base_image") == fingerprint
    ]
