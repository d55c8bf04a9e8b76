"""Images by way of a registry: real skopeo, a registry of the test's own, a real daemon."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import socket
import stat
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from components.pipeline.docker import image
from components.pipeline.docker.daemon import Daemon, steadily
from components.pipeline.docker.image import Built, Kind
from components.pipeline.docker.pull import pulled
from components.pipeline.docker.push import pushed
from components.pipeline.docker.registry import Registry
from components.pipeline.errors import DockerError, RegistryError
from tests.contract import registry as registries
from tests.contract.docker_driver import Plugin
from tests.contract.dockerd import RefusedError
from tests.contract.registry import PASSWORD, USER, Wire
from tests.contract.test_docker_target_image import at
from tests.contract.test_docker_target_plugin import IMAGE, PLUGIN
from tests.contract.test_incus_remote import certificate
from tests.contract.world import run
from tests.unit.docker_archives import CONFIG, layer, write

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.contract.dockerd import Dockerd

pytestmark = pytest.mark.contract
HASH: Final = "0123456789abcdfghijklmnpqrsvwxyz"
OTHER: Final = "1123456789abcdfghijklmnpqrsvwxyz"
BASE: Final = layer({"base": os.urandom(3_000_000)})
LOGIN_VARIABLES: Final = ("REGISTRY_AUTH_FILE", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME")


class Place:
    """A registry, a daemon, and images as nix would have built them."""

    def __init__(self, folder: Path, dockerd: Dockerd, server: registries.Registry) -> None:
        self.folder, self.dockerd, self.server = folder, dockerd, server
        self.path = f"{dockerd.prefix}/app"
        self.said: list[str] = []

    def registry(self, port: int = 0, *, username: str = "", password: str = "") -> Registry:
        host = f"127.0.0.1:{port}" if port else self.server.address
        address = f"{host}/{self.dockerd.prefix}"
        return Registry(address=address, username=username, password=password)

    def ref(self, registry: Registry, tag: str = HASH) -> str:
        return f"{registry.address}/app:{tag}"

    def archive(self, content: bytes = b"one", compression: str = "") -> Path:
        """Two layers: a large one that all have, and a small one of its own."""
        parts = layered(BASE, layer({"content": content}))
        return write(self.folder / f"image-{content.decode()}.tar", parts, compression)

    async def push(self, path: Path, registry: Registry | None = None, tag: str = HASH) -> str:
        registry = registry or self.registry()
        return await pushed(
            Built(image=at(path)), self.ref(registry, tag), registry, self.said.append
        )

    async def pull(self, digest: str, registry: Registry | None = None, tag: str = HASH) -> str:
        registry = registry or self.registry()
        ref = self.ref(registry, tag)
        async with Daemon(self.dockerd.host) as docker:
            return await steadily(
                docker, lambda: pulled(docker, ref, digest, registry, self.said.append)
            )

    def of_daemon(self) -> dict[str, Any]:
        """Name → image, of all that has come from a registry of the tests."""
        found = self.dockerd.ask("GET", "/images/json")
        return {
            tag: one
            for one in found
            for tag in one["RepoTags"] or ()
            if f"/{self.dockerd.prefix}/" in tag
        }

    def clean(self) -> None:
        for tag in self.of_daemon():
            with suppress(RefusedError):
                self.dockerd.ask("DELETE", f"/images/{tag}?force=1")


def layered(*layers: bytes) -> dict[str, bytes]:
    """The members of an archive with several layers."""
    digests = [hashlib.sha256(one).hexdigest() for one in layers]
    rootfs = {"type": "layers", "diff_ids": [f"sha256:{digest}" for digest in digests]}
    config = json.dumps({**CONFIG, "rootfs": rootfs}).encode()
    name = f"{hashlib.sha256(config).hexdigest()}.json"
    places = [f"{digest}/layer.tar" for digest in digests]
    manifest = json.dumps([{"Config": name, "RepoTags": ["app:latest"], "Layers": places}])
    return {
        **dict(zip(places, layers, strict=True)),
        "manifest.json": manifest.encode(),
        name: config,
    }


@pytest.fixture(autouse=True)
def nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user who is logged in nowhere; a person's own logins are not looked at."""
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
    tools: None,  # noqa: ARG001 skips what needs it
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[registries.Registry]:
    with registries.running(tmp_path_factory.mktemp("registry") / "open") as made:
        yield made


@pytest.fixture(scope="module")
def locked(
    tools: None,  # noqa: ARG001 skips what needs it
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[registries.Registry]:
    """One that asks who is there."""
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
    said = str(caught.value)
    assert "\n" not in said
    assert PASSWORD not in said
    return said


# --- there and back ----------------------------------------------------------------------------


@pytest.mark.parametrize("compression", ["", "gz", "xz"])
async def test_an_image_is_pushed_once_and_pulled_once(place: Place, compression: str) -> None:
    path = place.archive(compression=compression)
    digest = await place.push(path)
    assert digest == place.server.digest(place.path, HASH)
    assert place.server.tags(place.path) == [HASH], "and no `latest`"
    identity = await place.pull(digest)
    assert identity == image.read_manifest(path).config
    ref = place.ref(place.registry())
    assert place.of_daemon().keys() == {ref}
    place.server.forget()
    place.said.clear()
    # What is there is not even looked at: only its name is.
    path.write_bytes(b"")
    assert await place.push(path) == digest
    assert await place.pull(digest) == identity
    assert place.said == []
    assert {one.split(" ")[0] for one in place.server.requests()} <= {"GET", "HEAD"}
    assert place.server.requests("/blobs/") == []

    async with Daemon(place.dockerd.host) as docker:
        await image.remove(docker, ref)
    assert place.of_daemon() == {}
    assert place.server.tags(place.path) == [HASH], "nothing is ever removed from a registry"
    assert await place.pull(digest) == identity
    assert place.server.requests("^(PUT|PATCH|POST)") == []


async def test_only_layers_that_are_missing_travel(place: Place) -> None:
    await place.pull(await place.push(place.archive(b"one")))
    place.server.forget()
    digest = await place.push(place.archive(b"two"), tag=OTHER)
    assert len(place.server.requests("^PUT .*/blobs/uploads/")) == 2, "its layer and its config"
    place.server.forget()
    await place.pull(digest, tag=OTHER)
    assert len(place.server.requests("^GET .*/blobs/sha256")) == 2
    assert {tag.rpartition(":")[2] for tag in place.of_daemon()} == {HASH, OTHER}


async def test_a_script_that_writes_the_image(place: Place) -> None:
    path = place.folder / "stream"
    path.write_text(f"#!/bin/sh\nexec cat {place.archive()}\n")
    path.chmod(0o755)
    digest = await place.push(path)
    assert digest == place.server.digest(place.path, HASH)
    assert place.said == ["writing the image", "pushing the image, 3 MB and less"]


# --- as the engine asks ------------------------------------------------------------------------


def test_the_life_of_an_image(closed: Place) -> None:
    """Also one that was removed by hand is pulled again, and who logs in is no change of it."""
    if shutil.which("nix-store") is None:
        pytest.skip("nix is not on PATH; tools/bootstrap installs it")
    built = run("nix-store", "--add", closed.archive())
    registry, tag = closed.registry(), built[11:43]
    ref = closed.ref(registry, tag)
    login = {"username": USER, "password": PASSWORD}
    where = {"host": closed.dockerd.host, "registry": registry.address}
    inputs = {"ref": ref, "built": built, **where, **login}
    with Plugin.run(PLUGIN) as plugin:
        it = plugin.make(IMAGE, inputs, name="it")
        assert it.id == ref
        assert it.state["digest"] == closed.server.digest(closed.path, tag)
        hidden = {key for key, value in it.state.items() if is_secret(value)}
        assert hidden == {"username", "password"}
        others = {**inputs, "password": "another", "username": "somebody"}
        assert plugin.changes(it, others).kinds == {}
        assert plugin.refreshed(it) == it

        closed.server.forget()
        closed.clean()
        assert plugin.changes(it, inputs).kinds == {"imageId": "UPDATE"}
        again = plugin.changed(it, inputs)
        assert again.state == it.state
        assert closed.server.requests("^(PUT|PATCH|POST)") == []
        shown = [one.text for one in plugin.engine.messages if PASSWORD in one.text]
        assert shown == []
    with Plugin.run(PLUGIN) as later:
        later.refreshed(again)
        later.remove(again)
    assert closed.of_daemon() == {}
    assert closed.server.tags(closed.path) == [tag]
    run("nix-store", "--delete", built)


def is_secret(value: Any) -> bool:
    return isinstance(value, dict) and "value" in value


# --- logins ------------------------------------------------------------------------------------


async def test_the_login_of_the_config_is_seen_by_nobody(
    closed: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a skopeo that writes down what it is given."""
    real, bin_folder, notes = shutil.which("skopeo"), closed.folder / "bin", closed.folder / "notes"
    bin_folder.mkdir()
    wrapper = bin_folder / "skopeo"
    wrapper.write_text(
        f'#!/bin/sh\n{{ echo "$@"; env; }} >>{notes}\nfor word; do case $word in */auth.json)\n'
        f'stat -c "mode %a %n" "$word" "${{word%/*}}" >>{notes} ;; esac; done\nexec {real} "$@"\n'
    )
    wrapper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{bin_folder}:{os.environ['PATH']}")
    registry = closed.registry(username=USER, password=PASSWORD)
    digest = await closed.push(closed.archive(), registry)
    assert digest == closed.server.digest(closed.path, HASH)
    await closed.pull(digest, registry)
    said = notes.read_text()
    assert PASSWORD not in said
    modes = {tuple(line.split(" ")[1:]) for line in said.splitlines() if line.startswith("mode ")}
    assert {(mode, name.endswith("/auth.json")) for mode, name in modes} == {
        ("600", True),
        ("700", False),
    }
    left = [name for _, name in modes if Path(name).exists()]  # noqa: ASYNC240 a moment
    assert left == [], "gone when it is done"


async def test_a_login_that_is_refused(closed: Place) -> None:
    path = closed.archive()
    wrong = closed.registry(username=USER, password="wrong")  # noqa: S106 a test's
    for registry in (closed.registry(), wrong):
        with pytest.raises(RegistryError) as caught:
            await closed.push(path, registry)
        said = message_of(caught)
        assert said.startswith(f"the registry refused the login: {closed.ref(registry)}: ")
        assert said.endswith(
            ". set docker.registry.username and password, or log in with `skopeo login`, as "
            "somebody who may push there"
        )
    with pytest.raises(DockerError) as refused:
        await closed.pull("sha256:0")
    said = message_of(refused)
    assert said.startswith(f"the daemon cannot pull the image: {closed.ref(closed.registry())}: ")
    assert "no basic auth credentials" in said


@pytest.mark.parametrize("where", ["REGISTRY_AUTH_FILE", "runtime", "docker", "helper"])
async def test_the_login_of_the_user(
    closed: Place, where: str, nobody: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `skopeo login`, `docker login` or a credential helper keeps it."""
    host = closed.server.address
    text = registries.config_with(host, (USER, PASSWORD))
    file = nobody / "docker" / "config.json"
    if where == "REGISTRY_AUTH_FILE":
        file = nobody / "own.json"
        monkeypatch.setenv(where, str(file))
    elif where == "runtime":
        file = nobody / "containers" / "auth.json"
    elif where == "helper":
        helper = nobody / "docker-credential-test"
        answer = json.dumps({"ServerURL": host, "Username": USER, "Secret": PASSWORD})
        helper.write_text(f"#!/bin/sh\nread -r host; [ \"$host\" = {host} ] && echo '{answer}'\n")
        helper.chmod(0o755)
        monkeypatch.setenv("PATH", f"{nobody}:{os.environ['PATH']}")
        text = json.dumps({"credHelpers": {host: "test"}})
    file.parent.mkdir(exist_ok=True)
    file.write_text(text)
    digest = await closed.push(closed.archive())
    assert (await closed.pull(digest)).startswith("sha256:")


async def test_a_list_of_logins_that_is_empty(closed: Place, nobody: Path) -> None:
    """What `: >auth.json` leaves, which is no JSON."""
    file = nobody / "containers" / "auth.json"
    file.parent.mkdir()
    file.touch()
    with pytest.raises(RegistryError) as caught:
        await closed.pull("sha256:0")
    assert message_of(caught) == (
        f"no list of logins: {file}: it cannot be read as JSON. "
        "mend or remove it, or set docker.registry.username and password"
    )
    with pytest.raises(RegistryError) as caught:
        await closed.push(closed.archive())
    said = message_of(caught)
    assert said.startswith(f"no list of logins: {closed.ref(closed.registry())}: ")
    assert str(file) in said
    assert said.endswith(
        "unexpected end of JSON input. "
        "mend or remove that file, or set docker.registry.username and password"
    )


# --- what goes wrong ---------------------------------------------------------------------------


async def test_skopeo_is_missing(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(place.folder))
    with pytest.raises(RegistryError) as caught:
        await place.push(place.archive())
    assert message_of(caught) == (
        f"cannot push an image: {place.ref(place.registry())}: "
        "skopeo is not installed, or not on PATH. install skopeo, or remove docker.registry"
    )


async def test_the_registry_is_away(place: Place) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    registry = place.registry(port)
    with pytest.raises(RegistryError) as caught:
        await place.push(place.archive(), registry)
    said = message_of(caught)
    assert said.startswith(f"cannot reach the registry: {place.ref(registry)}: ")
    assert said.endswith(
        "connection refused. check docker.registry.address, and that it answers; then run "
        "`pulumi up` again"
    )
    with pytest.raises(DockerError) as refused:
        await place.pull("sha256:0", registry)
    said = message_of(refused)
    assert said.startswith(f"the daemon cannot pull the image: {place.ref(registry)}: ")
    assert said.endswith(
        f"connection refused. check that the daemon's machine reaches 127.0.0.1:{port}, with TLS "
        "it trusts"
    )
    assert place.of_daemon() == {}


def own_address() -> str:
    """An address of this machine that is no loopback's; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own:
        own.connect(("192.0.2.1", 9))
        return str(own.getsockname()[0])


async def test_a_certificate_of_nobody(place: Place, tmp_path: Path) -> None:
    certificate(tmp_path, "registry")
    file, host = tmp_path / "registry.crt", own_address()
    with registries.running(tmp_path / "tls", host=host, certificate=file) as server:
        registry = Registry(address=f"{server.address}/{place.dockerd.prefix}")
        with pytest.raises(RegistryError) as caught:
            await place.push(place.archive(), registry)
        said = message_of(caught)
        assert said.startswith(
            f"the registry's certificate is not trusted: {place.ref(registry)}: "
        )
        assert "x509: " in said
        assert server.requests() == []


async def test_plain_http_is_for_this_machine_only(place: Place, tmp_path: Path) -> None:
    with registries.running(tmp_path / "plain", host=own_address()) as server:
        registry = Registry(address=f"{server.address}/{place.dockerd.prefix}")
        with pytest.raises(RegistryError) as caught:
            await place.push(place.archive(), registry)
        said = message_of(caught)
        assert said.startswith(f"the registry speaks plain http: {place.ref(registry)}: ")
        assert said.endswith(". give it TLS: plain http is only for a registry on this machine")
        assert server.requests() == []


async def test_a_push_that_is_cut_off_goes_on(place: Place) -> None:
    with Wire(to=place.server.port, cuts=1) as wire:
        digest = await place.push(place.archive(), place.registry(wire.port))
        assert wire.cut == 1
    assert digest == place.server.digest(place.path, HASH)


async def test_a_push_that_is_cut_off_each_time_is_one_message(place: Place) -> None:
    path = place.archive()
    with Wire(to=place.server.port, cuts=1000) as wire:
        registry = place.registry(wire.port)
        with pytest.raises(RegistryError) as caught:
            await place.push(path, registry)
        said = message_of(caught)
        assert said.startswith(f"the push failed: {place.ref(registry)}: ")
        assert said.endswith(". `pulumi up` again sends only what is missing")
        assert place.server.tags(place.path) == []
        wire.cuts = 0
        digest = await place.push(path, registry)
    assert digest == place.server.digest(place.path, HASH)


def cut_in_writing(folder: Path, monkeypatch: pytest.MonkeyPatch, times: int) -> Path:
    """A skopeo that is unlucky with its first pushes, as a race in Go's client has it now and then.

    Gives the file with a letter for each push that was begun.
    """
    folder.mkdir()
    count = folder / "count"
    count.touch()
    log = 'level=fatal msg="writing blob: Patch \\"http://x/\\": use of closed network connection"'
    (folder / "said").write_text(f"{log}\n")
    (folder / "skopeo").write_text(
        f"""#!/bin/sh
        case "$*" in *" copy "*) printf x >>{count} ;; esac
        case "$*" in *" copy "*) [ "$(wc -c <{count})" -gt {times} ] ;; esac &&
            exec {shutil.which("skopeo")} "$@"
        cat {folder}/said >&2
        exit 1
        """
    )
    (folder / "skopeo").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return count


async def test_a_push_that_is_cut_while_it_writes_begins_again(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = cut_in_writing(tmp_path / "bin", monkeypatch, times=2)
    assert await place.push(place.archive()) == place.server.digest(place.path, HASH)
    assert count.read_text() == "xxx"


async def test_a_push_that_is_cut_whenever_it_writes_is_one_message(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = cut_in_writing(tmp_path / "bin", monkeypatch, times=1000)
    with pytest.raises(RegistryError) as caught:
        await place.push(place.archive())
    assert count.read_text() == "xxx"
    assert message_of(caught) == (
        f'the push failed: {place.ref(place.registry())}: writing blob: Patch "http://x/": '
        "use of closed network connection. "
        "`pulumi up` again sends only what is missing"
    )


async def test_a_name_under_which_the_daemon_gets_something_else(place: Place) -> None:
    """Somebody has moved the tag between the push and the pull: the next `up` must not take it."""
    await place.push(place.archive())
    with pytest.raises(DockerError) as caught:
        await place.pull(f"sha256:{'0' * 64}")
    assert message_of(caught) == (
        f"the daemon has pulled another image: {place.ref(place.registry())}: "
        "it has not got sha256:000000000000, which was pushed. "
        "somebody else writes to that name: look into the registry"
    )
    assert place.of_daemon() == {}


async def test_what_is_no_image_is_not_pushed(place: Place) -> None:
    path = place.folder / "text"
    path.write_text("hello\n")
    with pytest.raises(DockerError) as caught:
        await place.push(path)
    assert message_of(caught).startswith(f"not an image: {path}: ")
    assert place.server.tags(place.path) == []


@pytest.mark.parametrize("compression", ["", "gz"])
async def test_an_archive_that_was_cut_short_is_not_pushed(place: Place, compression: str) -> None:
    path = place.archive(compression=compression)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(DockerError) as caught:
        await place.push(path)
    assert message_of(caught).startswith("not a whole image archive: ")
    assert place.server.requests("^(PUT|PATCH|POST)") == []


# --- nix2container -----------------------------------------------------------------------------


def nix2container(folder: Path, archive: Path) -> Built:
    """An image that is its description, and the script that alone can copy it.

    As nix2container's lib/copyTo.nix: what it is given goes to skopeo behind the image. The image
    is an archive here, as nix2container's own skopeo cannot be had.
    """
    json_file = folder / "image-app.json"
    text = {"version": 1, "image-config": {}, "layers": [], "arch": "amd64"}
    json_file.write_text(json.dumps(text))
    script = folder / "copy" / "bin" / "copy-to"
    script.parent.mkdir(parents=True)
    image_of_it = f"docker-archive:{archive}"
    script.write_text(
        f"#!/bin/sh\nset -eu\necho Running skopeo --insecure-policy copy {image_of_it} $@\n"
        f"skopeo --insecure-policy copy {image_of_it} $@\n"
    )
    script.chmod(stat.S_IRWXU)
    return Built(image=at(json_file), copier=at(script.parents[1]))


async def test_an_image_of_nix2container(place: Place) -> None:
    """By way of a registry, and straight to a daemon."""
    archive = place.archive()
    built, registry = nix2container(place.folder, archive), place.registry()
    assert built.kind is Kind.NIX2CONTAINER
    ref, identity = place.ref(registry), image.read_manifest(archive).config
    digest = await pushed(built, ref, registry, place.said.append)
    assert digest == place.server.digest(place.path, HASH)
    assert await place.pull(digest) == identity
    place.clean()
    async with Daemon(place.dockerd.host) as docker:
        assert await image.ensure(docker, built, ref, place.said.append) == identity
    assert place.of_daemon().keys() == {ref}


async def test_an_image_of_nix2container_without_its_script(place: Place) -> None:
    built = Built(image=nix2container(place.folder, place.archive()).image)
    ref = place.ref(place.registry())
    with pytest.raises(DockerError) as caught:
        await pushed(built, ref, place.registry(), place.said.append)
    assert message_of(caught) == (
        f"not an image: {built.path}: it is nix2container's, and the attribute has no `copyTo`, "
        "which alone reads it. name the image itself, as nix2container.buildImage gives it"
    )


async def test_a_script_of_nix2container_that_fails(place: Place) -> None:
    built = nix2container(place.folder, place.folder / "none.tar")
    ref = place.ref(place.registry())
    with pytest.raises(RegistryError) as caught:
        await pushed(built, ref, place.registry(), place.said.append)
    said = message_of(caught)
    assert said.startswith(f"the push failed: {ref}: ")
    assert "none.tar: no such file or directory" in said
    async with Daemon(place.dockerd.host) as docker:
        with pytest.raises(DockerError) as failed:
            await image.ensure(docker, built, ref, place.said.append)
    assert str(failed.value).startswith(f"the image's script failed: {built.path}: ")
