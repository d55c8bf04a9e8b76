"""Fixtures: a registry, a daemon, and images that are pushed to one and pulled by the other."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import pytest

from components.pipeline.config.registry import Registry
from components.pipeline.targets.docker.daemon import Daemon, retry_through_restart
from components.pipeline.targets.docker.pull import ensure_pulled
from components.pipeline.targets.docker.push import ensure_pushed
from harness.daemons import registry as registries
from harness.daemons.registry import PASSWORD
from harness.unix_http import ApiError
from tests.unit.targets.docker.archives import CONFIG, layer, write

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from harness.daemons.dockerd import Dockerd

HASH: Final = "0123456789abcdfghijklmnpqrsvwxyz"
OTHER: Final = "1123456789abcdfghijklmnpqrsvwxyz"
BASE: Final = layer({"base": os.urandom(3_000_000)})
LOGIN_VARIABLES: Final = ("REGISTRY_AUTH_FILE", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME")


class Place:
    """A registry, a daemon, and images like those that nix builds."""

    def __init__(self, folder: Path, dockerd: Dockerd, server: registries.Registry) -> None:
        self.folder, self.dockerd, self.server = folder, dockerd, server
        self.path = f"{dockerd.prefix}/app"
        self.reports: list[str] = []

    def registry(self, port: int = 0, *, username: str = "", password: str = "") -> Registry:
        host = f"127.0.0.1:{port}" if port else self.server.address
        address = f"{host}/{self.dockerd.prefix}"
        return Registry(address=address, username=username, password=password)

    def ref(self, registry: Registry, tag: str = HASH) -> str:
        return f"{registry.address}/app:{tag}"

    def archive(self, content: bytes = b"one", compression: str = "") -> Path:
        """An image of two layers: a large one that all images share, and a small one."""
        parts = layered(BASE, layer({"content": content}))
        return write(self.folder / f"image-{content.decode()}.tar", parts, compression)

    async def push(self, path: Path, registry: Registry | None = None, tag: str = HASH) -> str:
        registry = registry or self.registry()
        return await ensure_pushed(path, self.ref(registry, tag), registry, self.reports.append)

    async def pull(self, digest: str, registry: Registry | None = None, tag: str = HASH) -> str:
        registry = registry or self.registry()
        ref = self.ref(registry, tag)
        async with Daemon(self.dockerd.host) as docker:
            return await retry_through_restart(
                docker, lambda: ensure_pulled(docker, ref, digest, registry, self.reports.append)
            )

    def of_daemon(self) -> dict[str, Any]:
        """The daemon's images from registries of the tests, by name."""
        found = self.dockerd.request("GET", "/images/json")
        return {
            tag: one
            for one in found
            for tag in one["RepoTags"] or ()
            if f"/{self.dockerd.prefix}/" in tag
        }

    def clean(self) -> None:
        for tag in self.of_daemon():
            with suppress(ApiError):
                self.dockerd.request("DELETE", f"/images/{tag}?force=1")


def layered(*layers: bytes, config: Mapping[str, Any] = CONFIG) -> dict[str, bytes]:
    """The members of an image archive with several layers."""
    digests = [hashlib.sha256(one).hexdigest() for one in layers]
    rootfs = {"type": "layers", "diff_ids": [f"sha256:{digest}" for digest in digests]}
    text = json.dumps({**config, "rootfs": rootfs}).encode()
    name = f"{hashlib.sha256(text).hexdigest()}.json"
    places = [f"{digest}/layer.tar" for digest in digests]
    manifest = json.dumps([{"Config": name, "RepoTags": ["app:latest"], "Layers": places}])
    return {
        **dict(zip(places, layers, strict=True)),
        "manifest.json": manifest.encode(),
        name: text,
    }


@pytest.fixture(autouse=True)
def logged_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user without any logins, in place of the real one."""
    home = tmp_path / "home"
    home.mkdir()
    for name in LOGIN_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(home))
    monkeypatch.setenv("DOCKER_CONFIG", str(home / "docker"))
    return home


@pytest.fixture(scope="module")
def tools(parts: dict[str, dict[str, Any]]) -> None:
    for name in ("skopeo", "registry"):
        if parts[name]["state"] != "ready":
            pytest.skip(f"no {name}: {parts[name]['reason']}; {parts[name]['remedy']}")


@pytest.fixture(scope="module")
def server(
    tools: None,  # noqa: ARG001 skips without the tools
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[registries.Registry]:
    with registries.running(tmp_path_factory.mktemp("registry") / "open") as made:
        yield made


@pytest.fixture(scope="module")
def locked(
    tools: None,  # noqa: ARG001 skips without the tools
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[registries.Registry]:
    """A registry that requires a login."""
    with registries.running(
        tmp_path_factory.mktemp("registry") / "locked", with_login=True
    ) as made:
        yield made


@pytest.fixture
def place(tmp_path: Path, dockerd: Dockerd, server: registries.Registry) -> Iterator[Place]:
    made = Place(tmp_path, dockerd, server)
    made.path = f"{dockerd.prefix}/app"
    server.forget()
    yield made
    made.clean()
    shutil.rmtree(server.log.parent / "data", ignore_errors=True)


@pytest.fixture
def closed(tmp_path: Path, dockerd: Dockerd, locked: registries.Registry) -> Iterator[Place]:
    made = Place(tmp_path, dockerd, locked)
    locked.forget()
    yield made
    made.clean()
    shutil.rmtree(locked.log.parent / "data", ignore_errors=True)


def message_of(caught: pytest.ExceptionInfo[Exception]) -> str:
    text = str(caught.value)
    assert "\n" not in text
    assert PASSWORD not in text
    return text
