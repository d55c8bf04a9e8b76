"""Logins at a registry: of the config, of the user, and refused ones."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from components.pipeline.errors import DockerError, RegistryError
from harness.daemons import registry as registries
from harness.daemons.programs import found_first
from harness.daemons.registry import PASSWORD, USER
from harness.daemons.registry_place import HASH, Place, closed, locked, message_of, nobody, tools

__all__ = ["closed", "locked", "nobody", "tools"]
pytestmark = pytest.mark.contract


async def test_the_login_of_the_config_is_seen_by_nobody(
    closed: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a skopeo that writes down what it is given."""
    real, notes = shutil.which("skopeo"), closed.folder / "notes"
    script = (
        f'#!/bin/sh\n{{ echo "$@"; env; }} >>{notes}\nfor word; do case $word in */auth.json)\n'
        f'stat -c "mode %a %n" "$word" "${{word%/*}}" >>{notes} ;; esac; done\nexec {real} "$@"\n'
    )
    found_first(monkeypatch, closed.folder / "bin", "skopeo", script)
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
        answer = json.dumps({"ServerURL": host, "Username": USER, "Secret": PASSWORD})
        script = f"#!/bin/sh\nread -r host; [ \"$host\" = {host} ] && echo '{answer}'\n"
        found_first(monkeypatch, nobody, "docker-credential-test", script)
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
