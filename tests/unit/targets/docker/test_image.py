"""What nix has built, told apart; and what an archive says of its image, whole or cut short."""

import gzip
import io
import json
import tarfile
from pathlib import Path

import pytest

from components.pipeline.errors import DockerError
from components.pipeline.targets.docker.image import Kind, _pieces, read_manifest
from tests.unit.targets.docker.archives import layer, members, write

LAYER = layer({"bin/sleep": b"not really" * 1000})
TAGS = ["app-image:v1", "app-image:latest"]
COMPRESSIONS = ("", "gz", "bz2", "xz")


def whole(folder: Path, compression: str = "", *, blobs: bool = False) -> Path:
    return write(folder / "image.tar", members(LAYER, TAGS, blobs=blobs), compression)


def message_of(path: Path) -> str:
    with pytest.raises(DockerError) as caught:
        read_manifest(path)
    return str(caught.value).replace(str(path), "IMAGE")


# --- kinds -------------------------------------------------------------------------------------


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_an_archive(tmp_path: Path, compression: str) -> None:
    path = whole(tmp_path, compression)
    assert Kind.of(path) is Kind.ARCHIVE
    path.chmod(0o755)
    assert Kind.of(path) is Kind.ARCHIVE, "whether it may be executed or not"


def test_a_script(tmp_path: Path) -> None:
    path = tmp_path / "stream"
    path.write_text("#!/bin/sh\ncat image.tar\n")
    path.chmod(0o555)
    assert Kind.of(path) is Kind.STREAM


OF_DOCKER_TOOLS = "the attribute has to be an image of dockerTools"
NEITHER = "it is neither an image archive nor a script that writes one"


@pytest.mark.parametrize(
    ("name", "detail", "remedy"),
    [
        ("nothing", "it is not in this store", OF_DOCKER_TOOLS),
        ("folder", NEITHER, OF_DOCKER_TOOLS),
        ("text", NEITHER, OF_DOCKER_TOOLS),
        ("empty", NEITHER, OF_DOCKER_TOOLS),
        ("other.json", NEITHER, OF_DOCKER_TOOLS),
        (
            "image.tar.zst",
            "it is compressed with zstd, which cannot be looked into",
            'write compressor = "gz" or "none" in the image',
        ),
    ],
)
def test_what_is_no_image(tmp_path: Path, name: str, detail: str, remedy: str) -> None:
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
def test_a_whole_archive(tmp_path: Path, compression: str, *, blobs: bool) -> None:
    path = whole(tmp_path, compression, blobs=blobs)
    found = read_manifest(path)
    parts = members(LAYER, TAGS, blobs=blobs)
    config = list(parts)[2]
    assert found.config == f"sha256:{config.removeprefix('blobs/sha256/').removesuffix('.json')}"
    assert found.tags == tuple(TAGS)
    assert found.size == path.stat().st_size


def test_an_archive_whose_image_has_no_name(tmp_path: Path) -> None:
    path = write(tmp_path / "image.tar", members(LAYER, None, blobs=False))
    assert read_manifest(path).tags == ()


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_an_archive_that_was_cut_short(tmp_path: Path, compression: str) -> None:
    path = whole(tmp_path, compression)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    said = message_of(path)
    assert said.startswith("not a whole image archive: IMAGE: ")
    assert said.endswith(". build it again (`nix store repair` where the store is damaged)")
    assert "\n" not in said


def test_an_archive_that_was_cut_between_two_members(tmp_path: Path) -> None:
    """The layer is missing, and nothing in the tar itself shows it."""
    parts = members(LAYER, TAGS, blobs=False)
    gone = next(iter(parts))
    path = write(tmp_path / "image.tar", {n: c for n, c in parts.items() if n != gone})
    assert message_of(path) == (
        f"not a whole image archive: IMAGE: {gone} is not in it. "
        "build it again (`nix store repair` where the store is damaged)"
    )


def test_an_archive_with_a_flipped_bit(tmp_path: Path) -> None:
    path = whole(tmp_path, "gz")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    assert message_of(path).startswith("not a whole image archive: IMAGE: ")


def test_an_archive_with_two_images(tmp_path: Path) -> None:
    parts = members(LAYER, TAGS, blobs=False)
    parts["manifest.json"] = json.dumps(2 * json.loads(parts["manifest.json"])).encode()
    assert message_of(write(tmp_path / "image.tar", parts)) == (
        "not an image archive: IMAGE: it has 2 images. "
        "the attribute has to be one image of dockerTools"
    )


def test_a_tar_that_is_no_image(tmp_path: Path) -> None:
    assert message_of(write(tmp_path / "source.tar", {"README": b"hello"})) == (
        "not an image archive: IMAGE: it has no manifest.json. "
        "the attribute has to be one image of dockerTools"
    )


@pytest.mark.parametrize("text", [b"", b"{", b'{"Config": "x"}', b"[7]", b'[{"Config": 7}]'])
def test_a_manifest_that_is_none(tmp_path: Path, text: bytes) -> None:
    parts = members(LAYER, TAGS, blobs=False)
    said = message_of(write(tmp_path / "image.tar", {**parts, "manifest.json": text}))
    assert said.startswith(("not a whole image archive: IMAGE: ", "not an image archive: IMAGE: "))


# --- what is sent ------------------------------------------------------------------------------


@pytest.mark.parametrize("compression", COMPRESSIONS)
async def test_what_is_sent_has_one_name_and_is_else_the_same(
    tmp_path: Path, compression: str
) -> None:
    path = whole(tmp_path, compression)
    pieces = [piece async for piece in _pieces(path, read_manifest(path), "app-image:0123")]
    with tarfile.open(fileobj=io.BytesIO(b"".join(pieces))) as tar:
        sent = {one.name: _content(tar, one) for one in tar}
    parts = members(LAYER, TAGS, blobs=False)
    (image,) = json.loads(parts["manifest.json"])
    assert json.loads(sent.pop("manifest.json")) == [{**image, "RepoTags": ["app-image:0123"]}]
    del parts["manifest.json"]
    assert sent == parts


async def test_long_names_before_the_manifest_are_no_part_of_it(tmp_path: Path) -> None:
    """A name of more than 100 characters has a header of its own before the member."""
    parts = {"a/" * 80 + "b": b"first", **members(LAYER, TAGS, blobs=True)}
    path = write(tmp_path / "image.tar", parts)
    pieces = [piece async for piece in _pieces(path, read_manifest(path), "app:1")]
    with tarfile.open(fileobj=io.BytesIO(b"".join(pieces))) as tar:
        assert {one.name for one in tar} == parts.keys()


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = tar.extractfile(member)
    return file.read() if file else b""


def test_gzip_with_nothing_in_it(tmp_path: Path) -> None:
    path = tmp_path / "image.tar.gz"
    path.write_bytes(gzip.compress(b""))
    assert message_of(path).startswith("not ")
