"""The kinds of what nix builds, and the manifest of an archive: complete, truncated or damaged."""

import gzip
import io
import json
import tarfile
from pathlib import Path

import pytest

from components.pipeline.errors import DockerError
from components.pipeline.targets.docker.archive import Kind, pieces, read_manifest
from tests.unit.targets.docker.archives import layer, members, write

LAYER = layer({"bin/sleep": b"not really" * 1000})
TAGS = ["app-image:v1", "app-image:latest"]
COMPRESSIONS = ("", "gz", "bz2", "xz")


def archive_in(folder: Path, compression: str = "", *, blobs: bool = False) -> Path:
    return write(folder / "image.tar", members(LAYER, TAGS, blobs=blobs), compression)


def message_of(path: Path) -> str:
    with pytest.raises(DockerError) as caught:
        read_manifest(path)
    return str(caught.value).replace(str(path), "IMAGE")


# --- kinds -------------------------------------------------------------------------------------


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_an_archive(tmp_path: Path, compression: str) -> None:
    path = archive_in(tmp_path, compression)
    assert Kind.of(path) is Kind.ARCHIVE
    path.chmod(0o755)
    assert Kind.of(path) is Kind.ARCHIVE, "executable or not"


def test_a_script(tmp_path: Path) -> None:
    path = tmp_path / "stream"
    path.write_text("#!/bin/sh\ncat image.tar\n")
    path.chmod(0o555)
    assert Kind.of(path) is Kind.STREAM


OF_DOCKER_TOOLS = "the attribute must be an image built with dockerTools"
NEITHER = "it is neither an image archive nor a script that writes one"


@pytest.mark.parametrize(
    ("name", "detail", "remedy"),
    [
        ("nothing", "it is not in the Nix store of this machine", OF_DOCKER_TOOLS),
        ("folder", NEITHER, OF_DOCKER_TOOLS),
        ("text", NEITHER, OF_DOCKER_TOOLS),
        ("empty", NEITHER, OF_DOCKER_TOOLS),
        ("other.json", NEITHER, OF_DOCKER_TOOLS),
        (
            "image.tar.zst",
            "it is compressed with zstd, which is not supported",
            'set compressor = "gz" or "none" in the image',
        ),
    ],
)
def test_not_an_image(tmp_path: Path, name: str, detail: str, remedy: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "text").write_text("hello\n")
    (tmp_path / "empty").touch()
    (tmp_path / "other.json").write_text('{"version": 1, "layers": []}')
    (tmp_path / "image.tar.zst").write_bytes(b"\x28\xb5\x2f\xfd" + bytes(100))
    path = tmp_path / name
    with pytest.raises(DockerError) as caught:
        Kind.of(path)
    assert str(caught.value) == f"not an image: {path}: {detail}. {remedy}"


# --- manifests ---------------------------------------------------------------------------------


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("blobs", [False, True], ids=["dockerTools", "oci"])
def test_a_complete_archive(tmp_path: Path, compression: str, *, blobs: bool) -> None:
    path = archive_in(tmp_path, compression, blobs=blobs)
    found = read_manifest(path)
    parts = members(LAYER, TAGS, blobs=blobs)
    config = list(parts)[2]
    assert (
        found.config.digest
        == f"sha256:{config.removeprefix('blobs/sha256/').removesuffix('.json')}"
    )
    assert found.tags == tuple(TAGS)
    assert found.size == path.stat().st_size


def test_an_image_without_a_name(tmp_path: Path) -> None:
    path = write(tmp_path / "image.tar", members(LAYER, None, blobs=False))
    assert read_manifest(path).tags == ()


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_a_truncated_archive(tmp_path: Path, compression: str) -> None:
    path = archive_in(tmp_path, compression)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    text = message_of(path)
    assert text.startswith("damaged image archive: IMAGE: ")
    assert text.endswith(". build it again (`nix store repair` if the store is damaged)")
    assert "\n" not in text


def test_an_archive_truncated_between_two_members(tmp_path: Path) -> None:
    """The layer is missing, and nothing in the tar itself shows it."""
    parts = members(LAYER, TAGS, blobs=False)
    gone = next(iter(parts))
    path = write(tmp_path / "image.tar", {n: c for n, c in parts.items() if n != gone})
    assert message_of(path) == (
        f"damaged image archive: IMAGE: {gone} is missing. "
        "build it again (`nix store repair` if the store is damaged)"
    )


def test_an_archive_with_a_flipped_bit(tmp_path: Path) -> None:
    path = archive_in(tmp_path, "gz")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    assert message_of(path).startswith("damaged image archive: IMAGE: ")


def test_an_archive_with_two_images(tmp_path: Path) -> None:
    parts = members(LAYER, TAGS, blobs=False)
    parts["manifest.json"] = json.dumps(2 * json.loads(parts["manifest.json"])).encode()
    assert message_of(write(tmp_path / "image.tar", parts)) == (
        "not an image archive: IMAGE: it has 2 images. "
        "the attribute must be one image built with dockerTools"
    )


def test_a_tar_without_a_manifest(tmp_path: Path) -> None:
    assert message_of(write(tmp_path / "source.tar", {"README": b"hello"})) == (
        "not an image archive: IMAGE: it has no manifest.json. "
        "the attribute must be one image built with dockerTools"
    )


@pytest.mark.parametrize("content", [b"", b"{", b'{"Config": "x"}', b"[7]", b'[{"Config": 7}]'])
def test_a_malformed_manifest(tmp_path: Path, content: bytes) -> None:
    parts = members(LAYER, TAGS, blobs=False)
    text = message_of(write(tmp_path / "image.tar", {**parts, "manifest.json": content}))
    assert text.startswith(("damaged image archive: IMAGE: ", "not an image archive: IMAGE: "))


# --- what is loaded ------------------------------------------------------------------------------


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_only_the_name_of_the_image_changes(tmp_path: Path, compression: str) -> None:
    path = archive_in(tmp_path, compression)
    content = b"".join(pieces(path, read_manifest(path), "app-image:0123"))
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        sent = {one.name: _content(tar, one) for one in tar}
    parts = members(LAYER, TAGS, blobs=False)
    (image,) = json.loads(parts["manifest.json"])
    assert json.loads(sent.pop("manifest.json")) == [{**image, "RepoTags": ["app-image:0123"]}]
    del parts["manifest.json"]
    assert sent == parts


def test_a_long_name_before_the_manifest(tmp_path: Path) -> None:
    """A name of more than 100 characters has a header of its own before the member."""
    parts = {"a/" * 80 + "b": b"first", **members(LAYER, TAGS, blobs=True)}
    path = write(tmp_path / "image.tar", parts)
    content = b"".join(pieces(path, read_manifest(path), "app:1"))
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        assert {one.name for one in tar} == parts.keys()


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = tar.extractfile(member)
    return file.read() if file else b""


def test_an_empty_gzip_file(tmp_path: Path) -> None:
    path = tmp_path / "image.tar.gz"
    path.write_bytes(gzip.compress(b""))
    assert message_of(path).startswith("damaged image archive: IMAGE: ")
