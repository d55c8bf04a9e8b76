"""Logins to a registry: of the config, of the user, in a keychain, and refused ones."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from components.pipeline.config.registry import Registry
from components.pipeline.errors import DockerError, RegistryError
from components.pipeline.targets.docker import login
from components.pipeline.targets.docker.login import Login
from harness.daemons import registry as registries
from harness.daemons.git_repositories import run
from harness.daemons.programs import replace_program
from harness.daemons.registry import PASSWORD, USER
from harness.daemons.registry_place import (
    HASH,
    Place,
    closed,
    locked,
    logged_out,
    message_of,
    tools,
)
from harness.providers.docker_driver import Plugin
from tests.contract.docker.test_provider import IMAGE, PLUGIN

__all__ = ["closed", "locked", "logged_out", "tools"]
pytestmark = pytest.mark.contract


async def test_the_login_of_the_config_is_in_no_command_line(
    closed: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seen by a skopeo that records its arguments, environment and files."""
    real, notes = shutil.which("skopeo"), closed.folder / "notes"
    script = (
        f'#!/bin/sh\n{{ echo "$@"; env; }} >>{notes}\nfor word; do case $word in */auth.json)\n'
        f'stat -c "mode %a %n" "$word" "${{word%/*}}" >>{notes} ;; esac; done\nexec {real} "$@"\n'
    )
    replace_program(monkeypatch, closed.folder / "bin", "skopeo", script)
    registry = closed.registry(username=USER, password=PASSWORD)
    digest = await closed.push(closed.archive(), registry)
    assert digest == closed.server.digest(closed.path, HASH)
    await closed.pull(digest, registry)
    text = notes.read_text()
    assert PASSWORD not in text
    modes = {tuple(line.split(" ")[1:]) for line in text.splitlines() if line.startswith("mode ")}
    assert {(mode, name.endswith("/auth.json")) for mode, name in modes} == {
        ("600", True),
        ("700", False),
    }
    left = [name for _, name in modes if Path(name).exists()]  # noqa: ASYNC240 a moment
    assert left == [], "gone when it is done"


async def test_a_refused_login(closed: Place) -> None:
    path = closed.archive()
    wrong = closed.registry(username=USER, password="wrong")  # noqa: S106 a test's
    for registry in (closed.registry(), wrong):
        with pytest.raises(RegistryError) as caught:
            await closed.push(path, registry)
        text = message_of(caught)
        assert text.startswith(f"the registry refused the login: {closed.ref(registry)}: ")
        assert text.endswith(
            ". set docker.registry.username and password, or log in with `skopeo login`, as "
            "a user who may push there"
        )
    digest = f"sha256:{'0' * 64}"
    with pytest.raises(DockerError) as refused:
        await closed.pull(digest)
    text = message_of(refused)
    name = closed.ref(closed.registry()).rpartition(":")[0]
    assert text.startswith(f"the daemon cannot pull the image: {name}@{digest}: ")
    assert "no basic auth credentials" in text


@pytest.mark.parametrize("where", ["REGISTRY_AUTH_FILE", "runtime", "docker"])
async def test_the_login_of_the_user(
    closed: Place, where: str, logged_out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `skopeo login` or `docker login` keeps it."""
    file = logged_out / "docker" / "config.json"
    if where == "REGISTRY_AUTH_FILE":
        file = logged_out / "own.json"
        monkeypatch.setenv(where, str(file))
    elif where == "runtime":
        file = logged_out / "containers" / "auth.json"
    file.parent.mkdir(exist_ok=True)
    file.write_text(registries.config_with(closed.server.address, (USER, PASSWORD)))
    digest = await closed.push(closed.archive())
    assert (await closed.pull(digest)).startswith("sha256:")


def test_the_provider_finds_the_login_of_the_user(closed: Place, logged_out: Path) -> None:
    """In its own process, in whose folder there is a `docker.py` too."""
    if shutil.which("nix-store") is None:
        pytest.skip("nix is not on PATH; tools/bootstrap installs it")
    built = run("nix-store", "--add", closed.archive())
    auths = json.loads(registries.config_with(closed.server.address, (USER, PASSWORD)))
    write_docker_config(logged_out, **auths)
    registry, tag = closed.registry(), built[11:43]
    inputs = {"host": closed.dockerd.host, "ref": closed.ref(registry, tag), "built": built}
    with Plugin.run(PLUGIN) as plugin:
        image = plugin.create_resource(
            IMAGE, {**inputs, "registry": registry.address}, name="image"
        )
        assert image.state["digest"] == closed.server.digest(closed.path, tag)
    run("nix-store", "--delete", built)


def credential_helper(closed: Place, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put `docker-credential-test` on PATH; returns the file with what it was asked for.

    It has the login of the registry alone, as a keychain would, and fails if it sees the config.
    """
    host, asked = closed.server.address, closed.folder / "asked"
    answer = json.dumps({"ServerURL": host, "Username": USER, "Secret": PASSWORD})
    script = f"""#!/bin/sh
        [ "$1" = get ] && [ -z "$PULUMI_CONFIG" ] || exit 3
        read -r host
        echo "$host" >>{asked}
        [ "$host" = {host} ] && echo '{answer}' && exit
        echo credentials not found in native keychain
        exit 1
        """
    replace_program(monkeypatch, closed.folder / "bin", "docker-credential-test", script)
    monkeypatch.setenv("PULUMI_CONFIG", "{}")
    return asked


def write_docker_config(logged_out: Path, **content: object) -> None:
    file = logged_out / "docker" / "config.json"
    file.parent.mkdir()
    file.write_text(json.dumps(content))


@pytest.mark.parametrize("key", ["credHelpers", "credsStore"])
async def test_a_login_in_a_keychain(
    closed: Place, key: str, logged_out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`docker login` leaves an empty entry in `auths` for what its `credsStore` has."""
    host, asked = closed.server.address, credential_helper(closed, monkeypatch)
    kept = {"credHelpers": {host: "test"}, "credsStore": "test"}[key]
    write_docker_config(logged_out, **{key: kept, "auths": {host: {}}})
    digest = await closed.push(closed.archive())
    assert (await closed.pull(digest)).startswith("sha256:")
    assert asked.read_text().split() == [host, host], "once to push, once to pull"


async def test_a_keychain_without_this_login(
    closed: Place, logged_out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then the list itself may have it; if not, there is none: a registry may not need one."""
    asked = credential_helper(closed, monkeypatch)
    auths = json.loads(registries.config_with("other.example.org", (USER, PASSWORD)))
    write_docker_config(logged_out, credsStore="test", **auths)
    registry = Registry(address="other.example.org/team")
    assert await login.find(registry) == Login(username=USER, password=PASSWORD)
    assert await login.find(Registry(address="third.example.org")) == login.NO_LOGIN
    assert asked.read_text().split() == ["other.example.org", "third.example.org"]


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("echo locked; exit 2", "locked"),
        ("echo no session >&2; exit 2", "no session"),
        ("echo none", "its answer is not a login"),
        ("", "docker-credential-test is not installed, or not on PATH"),
    ],
)
async def test_a_keychain_that_fails(
    closed: Place, logged_out: Path, monkeypatch: pytest.MonkeyPatch, script: str, reason: str
) -> None:
    if script:
        text = f"#!/bin/sh\n{script}\n"
        replace_program(monkeypatch, closed.folder / "bin", "docker-credential-test", text)
    write_docker_config(logged_out, credsStore="test")
    host = closed.server.address
    for action in (closed.push(closed.archive()), closed.pull("sha256:0")):
        with pytest.raises(RegistryError) as caught:
            await action
        assert message_of(caught) == (
            f"cannot read the login: {host}: docker-credential-test: {reason}. "
            f"log in to {host} again, or set docker.registry.username and password"
        )


async def test_a_token_and_a_namespace(logged_out: Path) -> None:
    """The longest path that contains the images; an entry that cannot be read is another's."""
    write_docker_config(
        logged_out,
        auths={
            "broken.example.org": {"auth": "%"},
            "r.example.org": {"auth": "YTpi"},
            "r.example.org/team": {"auth": "YTpj", "identitytoken": "t1"},
            "https://index.docker.io/v1/": {"auth": "aHVi OnB3".replace(" ", "")},
        },
    )
    assert await login.find(Registry(address="r.example.org/team/x")) == Login(token="t1")  # noqa: S106 a test's
    assert await login.find(Registry(address="r.example.org/other")) == Login(
        username="a",
        password="b",  # noqa: S106 a test's
    )
    assert await login.find(Registry(address="docker.io/me")) == Login(
        username="hub",
        password="pw",  # noqa: S106 a test's
    )
    assert await login.find(Registry(address="broken.example.org")) == login.NO_LOGIN


async def test_an_empty_list_of_logins(closed: Place, logged_out: Path) -> None:
    """What `: >auth.json` leaves, which is not JSON."""
    file = logged_out / "containers" / "auth.json"
    file.parent.mkdir()
    file.touch()
    for action in (closed.push(closed.archive()), closed.pull("sha256:0")):
        with pytest.raises(RegistryError) as caught:
            await action
        assert message_of(caught) == (
            f"cannot read the list of logins: {file}: it is not JSON. "
            "fix or remove it, or set docker.registry.username and password"
        )
