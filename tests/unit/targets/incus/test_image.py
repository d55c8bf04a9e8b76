"""The two files of an image: where they are, their fingerprint, and their faults."""

import hashlib
import io
import struct
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from components.pipeline.errors import IncusError
from components.pipeline.targets.incus.image import ImageFiles, _find_file
from components.pipeline.targets.incus.ownership import ImageReference
from components.pipeline.values import Owner, StorePath

GOOD = "architecture: x86_64\nproperties: {os: nixos}\n"
ONE = StorePath(f"/nix/store/{'1' * 32}-metadata")
TWO = StorePath(f"/nix/store/{'2' * 32}-squashfs")


def squashfs(*, used: int = 200, size: int = 4096, magic: bytes = b"hsqs") -> bytes:
    """The part of one that is checked: its magic number and its size."""
    return struct.pack("<4s36xQ", magic, used).ljust(size, b"\0")


def tar(text: str, name: str = "metadata.yaml") -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        member = tarfile.TarInfo(name)
        member.size = len(text)
        archive.addfile(member, io.BytesIO(text.encode()))
    return file.getvalue()


@pytest.fixture
def files(tmp_path: Path) -> Callable[..., ImageFiles]:
    def made(metadata: bytes = tar(GOOD), rootfs: bytes = squashfs()) -> ImageFiles:
        (tmp_path / "m.tar").write_bytes(metadata)
        (tmp_path / "r.squashfs").write_bytes(rootfs)
        return ImageFiles(metadata=tmp_path / "m.tar", rootfs=tmp_path / "r.squashfs")

    return made


async def test_the_fingerprint_is_the_digest_of_metadata_and_root(
    files: Callable[..., ImageFiles],
) -> None:
    large = files(rootfs=squashfs(size=3_000_000))
    whole = large.metadata.read_bytes() + large.rootfs.read_bytes()
    assert await large.fingerprint() == hashlib.sha256(whole).hexdigest()


def test_a_valid_image_passes(files: Callable[..., ImageFiles]) -> None:
    files().check(["x86_64", "i686"])
    files(metadata=tar(GOOD.replace("x86_64", "i686"))).check(["x86_64", "i686"])
    files(metadata=tar("architecture: x86_64\nproperties: {}\n")).check(["x86_64"])


def refused(found: ImageFiles, architectures: list[str]) -> str:
    with pytest.raises(IncusError) as caught:
        found.check(architectures)
    return str(caught.value)


def test_an_image_for_another_architecture(files: Callable[..., ImageFiles]) -> None:
    found = files(metadata=tar(GOOD.replace("x86_64", "aarch64")))
    assert refused(found, ["x86_64", "i686"]) == (
        f"wrong architecture: {found.metadata}: it is for aarch64, and the server runs x86_64."
        " set `image` to a system whose nixpkgs.hostPlatform is the server's"
    )


REBUILD = "build it again (`nix store repair` where the store is damaged)"


def test_a_truncated_root(files: Callable[..., ImageFiles]) -> None:
    found = files(rootfs=squashfs(used=5000))
    assert refused(found, ["x86_64"]) == (
        f"truncated image: {found.rootfs}: it should have 5000 bytes, and has 4096. {REBUILD}"
    )


@pytest.mark.parametrize("content", [b"", b"hsqs", squashfs(magic=b"QFI\xfb"), b"\x1f\x8b" * 99])
def test_a_root_that_is_not_a_squashfs(files: Callable[..., ImageFiles], content: bytes) -> None:
    found = files(rootfs=content)
    assert refused(found, ["x86_64"]) == (
        f"not a squashfs: {found.rootfs}: wrong magic number. "
        "flakeup uploads split images: use `system.build.squashfs`, no tarball or disk"
    )


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (tar(GOOD, "other.yaml"), "it contains no metadata.yaml"),
        (b"no tar", "file could not be opened successfully"),
        (tar("properties: {os: x}\n"), "its metadata.yaml has no architecture"),
        # Incus 6.0.4 crashes on it if the upload sets properties.
        (tar("architecture: x86_64\n"), "its metadata.yaml has no properties"),
        (tar("architecture: x86_64\nproperties:\n"), "its metadata.yaml has no properties"),
        (tar("architecture: x86_64\nproperties: [os]\n"), "has no map of properties"),
        (tar("[1, 2]\n"), "its metadata.yaml has no architecture and no properties"),
        (tar(""), "its metadata.yaml has no architecture and no properties"),
        (tar("a: b: c\n"), "mapping values are not allowed here"),
    ],
    ids=lambda it: it if isinstance(it, str) else "",
)
def test_invalid_metadata(files: Callable[..., ImageFiles], content: bytes, why: str) -> None:
    found = files(metadata=content)
    text = refused(found, ["x86_64"])
    assert text.startswith(f"not an image's metadata: {found.metadata}: ")
    assert why in text
    assert text.endswith(REBUILD)


def test_the_files_are_found_in_the_outputs_of_nixos(tmp_path: Path) -> None:
    (tmp_path / "tarball").mkdir()
    inside = tmp_path / "tarball" / "nixos-lxc-image-x86_64-linux.tar.xz"
    inside.touch()
    assert _find_file(tmp_path, ("tarball/*.tar*", "*.tar*")) == inside
    assert _find_file(inside, ("*.squashfs",)) == inside, "a store path may be the file itself"


def test_a_store_path_that_lacks_the_file_or_does_not_exist(tmp_path: Path) -> None:
    remedy = "set `image` to a system that imports NixOS's lxc-container.nix"
    for place, why in (
        (tmp_path, "it contains no *.squashfs"),
        (tmp_path / "gone", "it is not in this store"),
    ):
        with pytest.raises(IncusError) as caught:
            _find_file(place, ("*.squashfs", "*.img"))
        assert str(caught.value) == f"not an Incus image: {place}: {why}. {remedy}"
    for name in ("one.squashfs", "two.squashfs"):
        (tmp_path / name).touch()
    with pytest.raises(IncusError):
        _find_file(tmp_path, ("*.squashfs",))


def test_a_reference_names_the_resource_and_its_files() -> None:
    use = ImageReference.of(Owner.parse("shop/prod/5f3a"), "base-image", ONE, TWO)
    assert use.key == "user.flakeup.used-by.shop/prod/5f3a/base-image"
    assert use.files == f"{ONE.digest} {TWO.digest}"
