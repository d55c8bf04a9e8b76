"""Images on a real Incus: uploaded once, referenced by their users, deleted with the last one."""

from __future__ import annotations

import asyncio
import hashlib
import lzma
import tarfile
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from components.pipeline.errors import IncusError, IncusUnavailableError
from components.pipeline.targets.incus import image, instance
from components.pipeline.targets.incus.api import Incus, retry_through_restart
from components.pipeline.targets.incus.observed import DesiredInstance
from components.pipeline.targets.incus.ownership import ImageReference
from components.pipeline.targets.incus.remote import Remote
from components.pipeline.values import Owner
from harness.daemons.daemon_proxy import DaemonProxy
from harness.daemons.incusd import Incusd, incusd
from harness.daemons.tiny_image import Files, tiny

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

__all__ = ["incusd"]
pytestmark = pytest.mark.contract
ONE = ImageReference(resource="shop/prod/base-image", files="a b")
OTHER = ImageReference(resource="shop/staging/base-image", files="a b")
OWNER = Owner.parse("shop/prod")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> image.ImageFiles:
    return split(tiny(tmp_path_factory.mktemp("image"), "one"))


def split(made: Files) -> image.ImageFiles:
    return image.ImageFiles(metadata=made.metadata, rootfs=made.rootfs)


@pytest.fixture
def proxy(incusd: Incusd) -> Iterator[DaemonProxy]:
    """A proxy for the daemon; afterwards all instances and images are deleted."""
    with DaemonProxy(incusd.folder / "proxy", incusd.socket) as before:
        yield before
    incusd.clear()


@pytest.fixture
async def incus(proxy: DaemonProxy) -> AsyncIterator[Incus]:
    async with Incus(Remote(name="local", socket=proxy.path), "default") as server:
        yield server


async def upload(incus: Incus, files: image.ImageFiles, use: ImageReference = ONE) -> str:
    return await image.ensure(incus, files, use, "a text", print)


async def test_the_fingerprint_is_known_before_the_only_upload(
    incus: Incus, incusd: Incusd, proxy: DaemonProxy, files: image.ImageFiles
) -> None:
    digest = hashlib.sha256(files.metadata.read_bytes() + files.rootfs.read_bytes()).hexdigest()
    assert await upload(incus, files) == digest == await files.fingerprint()
    assert incusd.images() == {
        digest: {
            "description": "a text",
            "os": "tiny",
            "user.flakeup": "image",
            "user.flakeup.used-by.shop/prod/base-image": "a b",
        }
    }
    assert await image.list_fingerprints(incus) == {digest}
    proxy.reset()
    assert await upload(incus, files) == digest
    assert proxy.changes() == []


async def test_an_image_is_deleted_with_its_last_reference(
    incus: Incus, incusd: Incusd, proxy: DaemonProxy, files: image.ImageFiles
) -> None:
    digest = await upload(incus, files)
    proxy.reset()
    assert await upload(incus, files, OTHER) == digest
    assert proxy.requests("POST") == []
    await image.remove_reference(incus, digest, ONE)
    (properties,) = incusd.images().values()
    assert {OTHER.key, ONE.key} & properties.keys() == {OTHER.key}
    await image.remove_reference(incus, digest, ONE)
    assert digest in incusd.images(), "removing a reference twice affects no other"
    await image.remove_reference(incus, digest, OTHER)
    assert incusd.images() == {}
    await image.remove_reference(incus, digest, OTHER)


async def test_an_image_rebuilt_with_the_same_content_is_kept(
    incus: Incus, incusd: Incusd, files: image.ImageFiles
) -> None:
    """The engine creates the replacement before it deletes the old resource."""
    digest = await upload(incus, files)
    rebuilt = ImageReference(resource=ONE.resource, files="c d")
    await upload(incus, files, rebuilt)
    await image.remove_reference(incus, digest, ONE)
    assert incusd.images()[digest][rebuilt.key] == "c d"
    await image.remove_reference(incus, digest, rebuilt)
    assert incusd.images() == {}


async def test_a_resource_references_only_one_image(
    incus: Incus,
    incusd: Incusd,
    files: image.ImageFiles,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """A lost state never removes its reference: its image would stay for ever."""
    lost = await upload(incus, split(tiny(tmp_path_factory.mktemp("image"), "lost")))
    shared = await upload(incus, split(tiny(tmp_path_factory.mktemp("image"), "shared")))
    await upload(incus, split(tiny(tmp_path_factory.mktemp("image"), "other")), OTHER)
    incusd.request("PATCH", f"/1.0/images/{shared}", {"properties": {OTHER.key: "x"}})
    digest = await upload(incus, files)
    await image.prune(incus, digest, ONE)
    found = incusd.images()
    assert lost not in found
    assert [one for one, properties in found.items() if ONE.key in properties] == [digest]
    assert sum(OTHER.key in properties for properties in found.values()) == 2


async def test_an_image_is_kept_while_an_instance_of_it_exists(
    incus: Incus, incusd: Incusd, files: image.ImageFiles
) -> None:
    digest = await upload(incus, files)
    desired = DesiredInstance(name="a", image=digest, running=False)
    await instance.create(incus, desired, OWNER, print)
    await image.remove_reference(incus, digest, ONE)
    assert ONE.key not in incusd.images()[digest]
    assert await image.prune(incus) == []
    await instance.delete(incus, desired, incusd.instance("a")["config"]["volatile.uuid"])
    assert await image.prune(incus, keep=digest) == []
    assert await image.prune(incus) == [digest]
    assert incusd.images() == {}


async def test_an_image_imported_by_a_user_is_used_and_never_deleted(
    incus: Incus, incusd: Incusd, proxy: DaemonProxy, files: image.ImageFiles
) -> None:
    incusd.client("image", "import", str(files.metadata), str(files.rootfs), "--alias", "mine")
    (digest,) = incusd.images()
    assert await upload(incus, files) == digest
    assert proxy.requests("POST") == []
    await image.remove_reference(incus, digest, ONE)
    assert await image.prune(incus) == []
    assert not any("flakeup" in key for key in incusd.images()[digest])


async def test_concurrent_uploads_give_one_image_with_both_references(
    incus: Incus, incusd: Incusd, files: image.ImageFiles
) -> None:
    digests = await asyncio.gather(upload(incus, files), upload(incus, files, OTHER))
    assert incusd.images().keys() == set(digests)
    (properties,) = incusd.images().values()
    assert {ONE.key, OTHER.key} <= properties.keys()


@pytest.mark.parametrize("when", ["before", "middle", "after"])
async def test_a_broken_connection_during_the_upload(
    incus: Incus, incusd: Incusd, proxy: DaemonProxy, files: image.ImageFiles, when: str
) -> None:
    fault = proxy.disconnect("POST /1.0/images", when=when, seconds=0.3)
    digest = await retry_through_restart(incus, lambda: upload(incus, files))
    assert fault.triggered.is_set()
    assert incusd.images()[digest][ONE.key] == "a b"


async def test_a_server_crash_during_the_upload(
    incus: Incus,
    incusd: Incusd,
    proxy: DaemonProxy,
    files: image.ImageFiles,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("components.pipeline.process.retry.RESTART", 120)
    with proxy.hold("POST /1.0/images") as sent:
        sending = asyncio.create_task(retry_through_restart(incus, lambda: upload(incus, files)))
        await asyncio.to_thread(sent.wait)
        await asyncio.to_thread(incusd.restart, 0.5)
    digest = await sending
    assert incusd.images().keys() == {digest}


async def test_an_unavailable_server_is_one_message(
    incus: Incus, proxy: DaemonProxy, files: image.ImageFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("components.pipeline.process.retry.RESTART", 0.5)
    with proxy.down(), pytest.raises(IncusUnavailableError) as caught:
        await retry_through_restart(incus, lambda: upload(incus, files))
    assert str(caught.value) == (
        f"cannot reach Incus: local ({proxy.path}): [Errno 2] No such file or directory. "
        "check that incusd is running, and that `incus list` works for you"
    )


async def test_repeated_outages_end_the_retries(
    incus: Incus, proxy: DaemonProxy, files: image.ImageFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("components.pipeline.process.retry.PAUSE", 0.01)
    fault = proxy.disconnect("POST /1.0/images", when="before", seconds=0.0)
    fault.times = 100
    with pytest.raises(IncusUnavailableError):
        await retry_through_restart(incus, lambda: upload(incus, files))
    assert 90 < fault.times < 97


def vm_disk(files: image.ImageFiles, folder: Path) -> image.ImageFiles:
    """The disk of a virtual machine, by its magic number."""
    (folder / "nixos.qcow2").write_bytes(b"QFI\xfb".ljust(4096, b"\0"))
    return replace(files, rootfs=folder / "nixos.qcow2")


def docker_archive(files: image.ImageFiles, folder: Path) -> image.ImageFiles:
    (folder / "manifest.json").write_text("[]")
    return replace(files, metadata=archive(folder, "manifest.json"))


def other_architecture(files: image.ImageFiles, folder: Path) -> image.ImageFiles:
    (folder / "metadata.yaml").write_text("architecture: aarch64\nproperties: {os: nixos}\n")
    return replace(files, metadata=archive(folder, "metadata.yaml"))


def truncated_root(files: image.ImageFiles, folder: Path) -> image.ImageFiles:
    (folder / "root.squashfs").write_bytes(files.rootfs.read_bytes()[:-5000])
    return replace(files, rootfs=folder / "root.squashfs")


def truncated_metadata(files: image.ImageFiles, folder: Path) -> image.ImageFiles:
    (folder / "metadata.tar.xz").write_bytes(lzma.compress(files.metadata.read_bytes())[:-60])
    return replace(files, metadata=folder / "metadata.tar.xz")


def archive(folder: Path, name: str) -> Path:
    with tarfile.open(folder / "made.tar", "w") as tar:
        tar.add(folder / name, name)
    return folder / "made.tar"


BAD = [
    (vm_disk, "not a squashfs: F/nixos.qcow2: wrong magic number. flakeup uploads split images: "),
    (
        docker_archive,
        "not an image's metadata: F/made.tar: it contains no metadata.yaml. build it again",
    ),
    (other_architecture, "wrong architecture: F/made.tar: it is for aarch64, and the server runs "),
    (truncated_root, "truncated image: F/root.squashfs: it should have "),
    (truncated_metadata, "not an image's metadata: F/metadata.tar.xz: Compressed file ended "),
]


@pytest.mark.parametrize("bad", BAD, ids=lambda it: it[0].__name__)
async def test_an_invalid_image_is_not_uploaded(
    incus: Incus,
    proxy: DaemonProxy,
    files: image.ImageFiles,
    tmp_path: Path,
    bad: tuple[Callable[[image.ImageFiles, Path], image.ImageFiles], str],
) -> None:
    change, said = bad
    with pytest.raises(IncusError) as caught:
        await upload(incus, change(files, tmp_path))
    text = str(caught.value)
    assert text.startswith(said.replace("F/", f"{tmp_path}/"))
    assert text.endswith(
        (
            "use `system.build.squashfs`, no tarball or disk",
            "build it again (`nix store repair` where the store is damaged)",
            "set `image` to a system whose nixpkgs.hostPlatform is the server's",
        )
    )
    assert proxy.requests("POST") == []


async def test_a_missing_project(proxy: DaemonProxy, files: image.ImageFiles) -> None:
    remote = Remote(name="local", socket=proxy.path)
    async with Incus(remote, "nope") as incus:
        with pytest.raises(IncusError) as caught:
            await upload(incus, files)
    assert str(caught.value) == (
        "no such project: nope: local. use one that `incus project list local:` shows, or create it"
    )
