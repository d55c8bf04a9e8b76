"""A registry that is unreachable, not trusted or interrupted, and what is not an image."""

from __future__ import annotations

import shutil
import socket
from typing import TYPE_CHECKING

import pytest

from components.pipeline.config.registry import Registry
from components.pipeline.errors import DockerError, RegistryError
from harness.daemons import registry as registries
from harness.daemons.programs import replace_program
from harness.daemons.registry import Wire
from harness.daemons.registry_place import HASH, Place, logged_out, message_of, place, server, tools
from harness.ports import free_port
from tests.contract.incus.test_remote import certificate

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["logged_out", "place", "server", "tools"]
pytestmark = pytest.mark.contract


async def test_without_skopeo(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(place.folder))
    with pytest.raises(RegistryError) as caught:
        await place.push(place.archive())
    assert message_of(caught) == (
        f"cannot push an image: {place.ref(place.registry())}: "
        "skopeo is not installed, or not on PATH. install skopeo, or remove docker.registry"
    )


async def test_an_unreachable_registry(place: Place) -> None:
    port = free_port()
    registry = place.registry(port)
    with pytest.raises(RegistryError) as caught:
        await place.push(place.archive(), registry)
    text = message_of(caught)
    assert text.startswith(f"cannot reach the registry: {place.ref(registry)}: ")
    assert text.endswith(
        "connection refused. check docker.registry.address, and that the registry runs; then run "
        "`pulumi up` again"
    )
    with pytest.raises(DockerError) as refused:
        await place.pull(f"sha256:{'0' * 64}", registry)
    text = message_of(refused)
    name = place.ref(registry).rpartition(":")[0]
    assert text.startswith(f"the daemon cannot pull the image: {name}@sha256:00000000")
    assert text.endswith(
        f"connection refused. check that the daemon can reach 127.0.0.1:{port}, and trusts its "
        "certificate"
    )
    assert place.of_daemon() == {}


def external_address() -> str:
    """An address of this machine that is not a loopback address; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own:
        own.connect(("192.0.2.1", 9))
        return str(own.getsockname()[0])


async def test_an_untrusted_certificate(place: Place, tmp_path: Path) -> None:
    certificate(tmp_path, "registry")
    file, host = tmp_path / "registry.crt", external_address()
    with registries.running(tmp_path / "tls", host=host, certificate=file) as alone:
        registry = Registry(address=f"{alone.address}/{place.dockerd.prefix}")
        with pytest.raises(RegistryError) as caught:
            await place.push(place.archive(), registry)
        text = message_of(caught)
        assert text.startswith(
            f"the registry's certificate is not trusted: {place.ref(registry)}: "
        )
        assert "x509: " in text
        assert alone.requests() == []


async def test_plain_http_is_for_this_machine_only(place: Place, tmp_path: Path) -> None:
    with registries.running(tmp_path / "plain", host=external_address()) as alone:
        registry = Registry(address=f"{alone.address}/{place.dockerd.prefix}")
        with pytest.raises(RegistryError) as caught:
            await place.push(place.archive(), registry)
        text = message_of(caught)
        assert text.startswith(f"the registry speaks plain http: {place.ref(registry)}: ")
        assert text.endswith(". give it TLS: plain http is only for a registry on this machine")
        assert alone.requests() == []


async def test_an_interrupted_push_is_resumed(place: Place) -> None:
    with Wire(to=place.server.port, cuts=1) as wire:
        digest = await place.push(place.archive(), place.registry(wire.port))
        assert wire.cut == 1
    assert digest == place.server.digest(place.path, HASH)


async def test_a_push_that_is_always_interrupted(place: Place) -> None:
    path = place.archive()
    with Wire(to=place.server.port, cuts=1000) as wire:
        registry = place.registry(wire.port)
        with pytest.raises(RegistryError) as caught:
            await place.push(path, registry)
        text = message_of(caught)
        assert text.startswith(f"the push failed: {place.ref(registry)}: ")
        assert text.endswith(". run `pulumi up` again: it sends only what is missing")
        assert place.server.tags(place.path) == []
        wire.cuts = 0
        digest = await place.push(path, registry)
    assert digest == place.server.digest(place.path, HASH)


def failing_skopeo(folder: Path, monkeypatch: pytest.MonkeyPatch, times: int) -> Path:
    """A skopeo whose first pushes fail as with a race in Go's HTTP client.

    Returns the file with a letter for each push that was started.
    """
    folder.mkdir()
    count = folder / "count"
    count.touch()
    log = 'level=fatal msg="writing blob: Patch \\"http://x/\\": use of closed network connection"'
    (folder / "said").write_text(f"{log}\n")
    script = f"""#!/bin/sh
        case "$*" in *" copy "*) printf x >>{count} ;; esac
        case "$*" in *" copy "*) [ "$(wc -c <{count})" -gt {times} ] ;; esac &&
            exec {shutil.which("skopeo")} "$@"
        cat {folder}/said >&2
        exit 1
        """
    replace_program(monkeypatch, folder, "skopeo", script)
    return count


async def test_a_push_interrupted_while_writing_is_restarted(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = failing_skopeo(tmp_path / "bin", monkeypatch, times=2)
    assert await place.push(place.archive()) == place.server.digest(place.path, HASH)
    assert count.read_text() == "xxx"


async def test_a_push_that_is_always_interrupted_while_writing(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = failing_skopeo(tmp_path / "bin", monkeypatch, times=1000)
    with pytest.raises(RegistryError) as caught:
        await place.push(place.archive())
    assert count.read_text() == "xxx"
    assert message_of(caught) == (
        f'the push failed: {place.ref(place.registry())}: writing blob: Patch "http://x/": '
        "use of closed network connection. "
        "run `pulumi up` again: it sends only what is missing"
    )


async def test_an_image_that_was_removed_from_the_registry(place: Place) -> None:
    """Another one has its name by now, and is not pulled in its place."""
    await place.push(place.archive())
    digest, ref = f"sha256:{'0' * 64}", place.ref(place.registry())
    with pytest.raises(DockerError) as caught:
        await place.pull(digest)
    text = message_of(caught)
    pinned = f"{ref.rpartition(':')[0]}@{digest}"
    assert text.startswith(f"the daemon cannot pull the image: {pinned}: manifest for {pinned} not")
    assert place.of_daemon() == {}


async def test_a_registry_that_cannot_look_is_not_pushed_to(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is there might be overwritten."""
    (tmp_path / "bin").mkdir()
    text = 'level=fatal msg="reading manifest: received unexpected HTTP status: 500"'
    script = f"""#!/bin/sh
        case "$*" in *" copy "*) exec {shutil.which("skopeo")} "$@" ;; esac
        echo '{text}' >&2
        exit 1
        """
    replace_program(monkeypatch, tmp_path / "bin", "skopeo", script)
    with pytest.raises(RegistryError) as caught:
        await place.push(place.archive())
    assert message_of(caught) == (
        f"cannot look for the image in the registry: {place.ref(place.registry())}: "
        "reading manifest: received unexpected HTTP status: 500. run `pulumi up` again"
    )
    assert place.server.tags(place.path) == []


async def test_what_is_not_an_image_is_not_pushed(place: Place) -> None:
    path = place.folder / "text"
    path.write_text("hello\n")
    with pytest.raises(DockerError) as caught:
        await place.push(path)
    assert message_of(caught).startswith(f"not an image: {path}: ")
    assert place.server.tags(place.path) == []


@pytest.mark.parametrize("compression", ["", "gz"])
async def test_a_truncated_archive_is_not_pushed(place: Place, compression: str) -> None:
    path = place.archive(compression=compression)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(DockerError) as caught:
        await place.push(path)
    assert message_of(caught).startswith("damaged image archive: ")
    assert place.server.requests("^(PUT|PATCH|POST)") == []
