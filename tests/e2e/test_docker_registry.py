"""Images through a registry with a login: of the app's own flake, and of this one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest
import yaml

from harness.daemons import registry
from harness.daemons.registry import PASSWORD, USER
from harness.http_load import Load
from tests.e2e.docker_stack import (
    APP,
    CONVERGED,
    EDGE,
    RUN,
    DockerInspector,
    DockerStack,
    assert_converged,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.command_result import Json
    from harness.daemons.daemon_proxy import DaemonProxy
    from harness.daemons.registry import Registry

pytestmark = pytest.mark.e2e
OWN: Final = "app-image"
"""The image of the app's own flake."""


@pytest.fixture(scope="module")
def server(docker_place: Path, parts: dict[str, dict[str, Any]]) -> Iterator[Registry]:
    for name in ("skopeo", "registry"):
        if parts[name]["state"] != "ready":
            pytest.skip(f"no {name}: {parts[name]['reason']}; {parts[name]['remedy']}")
    with registry.running(docker_place / "registry", with_login=True) as made:
        yield made


@pytest.fixture(scope="module")
def own(docker_stack: DockerStack, server: Registry) -> Json:
    """The config of a service of the app's own flake; the password is set with `pulumi config`."""
    registry_of_it = {"address": f"{server.address}/{RUN}", "username": USER}
    docker_stack.write(docker={**docker_stack.config["docker"], "registry": registry_of_it})
    argv = ("config", "set", "--secret", "--path", "docker.registry.password")
    docker_stack._do("pulumi", *argv, stdin=PASSWORD)
    docker = yaml.safe_load(docker_stack._file.read_text())["config"]["flakeup:docker"]
    service = docker_stack.service(**{"image": OWN, "from": "app"})
    return {"docker": docker, "services": {"app": service}}


def planned(stack: DockerStack) -> dict[str, Json]:
    """The new inputs of what a preview would change, by resource."""
    result = stack.preview("--json")
    assert result.code == 0, result.text
    return {
        step["urn"].rsplit("::", 1)[1]: step["newState"]["inputs"]
        for step in result.json["steps"]
        if step["op"] != "same" and "inputs" in (step.get("newState") or {})
    }


def images(inspector: DockerInspector, server: Registry, name: str) -> list[str]:
    """The names that an image has from the registry."""
    return inspector.images(f"{server.address}/{RUN}/{name}")


def assert_serves(
    stack: DockerStack, inspector: DockerInspector, server: Registry, release: str
) -> str:
    """One container and its edge, both from the registry; returns the container's image."""
    assert stack.http_get() == f"app {release} on docker"
    known = stack.containers()
    assert inspector.containers() == sorted(known.values())
    (image,) = images(inspector, server, OWN)
    assert inspector.daemon.container(known["app"])["Config"]["Image"] == image
    (edge,) = images(inspector, server, EDGE)
    assert inspector.daemon.container(known["app-edge"])["Config"]["Image"] == edge
    stack.release = release
    return image


def test_a_preview_shows_what_will_be_pulled_before_a_build(
    services: DockerStack, docker_proxy: DaemonProxy, server: Registry, own: Json
) -> None:
    services.write(appRef="v1", **own)
    path = str(planned(services)[f"app.{OWN}"]["built"])
    services._do("sh", "-c", f"! test -e {path} || nix-store --delete {path}")
    server.forget()
    docker_proxy.reset()
    found = planned(services)
    digest = path.removeprefix("/nix/store/").partition("-")[0]
    assert found["app"]["image"] == f"{server.address}/{RUN}/{OWN}:{digest}"
    assert not Path(path).exists()
    assert (server.requests(), docker_proxy.changes()) == ([], [])


def test_an_image_of_the_app_through_the_registry(
    services: DockerStack,
    docker_inspector: DockerInspector,
    docker_proxy: DaemonProxy,
    server: Registry,
    own: Json,
) -> None:
    services.write(appRef="v1", **own)
    docker_proxy.reset()
    result = services.up()
    assert result.code == 0, result.text
    assert PASSWORD not in result.text
    name, _, tag = assert_serves(services, docker_inspector, server, "v1").rpartition(":")
    assert server.tags(f"{RUN}/{OWN}") == [tag], "and no `latest`"
    pinned = f"{name}@{server.digest(f'{RUN}/{OWN}', tag)}"
    assert services.outputs()["images"][f"app.{OWN}"] == pinned
    assert docker_proxy.requests("/images/load") == []
    assert docker_inspector.images(APP) + docker_inspector.images(EDGE) == [], (
        "the previous ones are removed"
    )
    kept = [file for file in services.backend.state.rglob("*") if file.is_file()]
    assert not [file for file in kept if PASSWORD.encode() in file.read_bytes()]
    # The check can find text: what is not secret is there.
    assert [file for file in kept if name.encode() in file.read_bytes()]

    server.forget()
    docker_proxy.reset()
    result = services.up()
    assert (result.code, result.summary()) == (0, CONVERGED), result.text
    assert (server.requests(), docker_proxy.changes()) == ([], []), "the second one only asks"
    services.release = "v1"


def test_a_new_release_pushes_only_its_image(
    docker_stack: DockerStack, docker_inspector: DockerInspector, server: Registry, own: Json
) -> None:
    stack = docker_stack
    stack.write(appRef="v2", **own)
    assert {"app", f"app.{OWN}"} <= planned(stack).keys()
    server.forget()
    with Load(stack.port) as load:
        result = stack.up()
    assert result.code == 0, result.text
    assert load.lost == []
    assert_serves(stack, docker_inspector, server, "v2")
    assert len(server.tags(f"{RUN}/{OWN}")) == 2, "what was pushed stays"
    assert server.requests(f"/{EDGE}/") == []


def test_a_refused_login_is_one_message_and_changes_nothing(
    docker_stack: DockerStack, server: Registry, own: Json
) -> None:
    stack, before = docker_stack, docker_stack.containers()
    wrong = {**own["docker"]["registry"], "username": "somebody"}
    other = {**own, "docker": {**own["docker"], "registry": wrong}}
    stack.write(appRef="v3", **other)
    result = stack.up()
    (error,) = result.errors()
    assert error.startswith(f"the registry refused the login: {server.address}/{RUN}/{OWN}:")
    assert PASSWORD not in result.text
    assert (stack.containers(), stack.http_get()) == (before, "app v2 on docker")


def test_back_to_images_without_a_registry(
    services: DockerStack, docker_inspector: DockerInspector, server: Registry
) -> None:
    """The images are removed from the daemon, not from the registry."""
    assert_converged(services, docker_inspector, "v1")
    assert images(docker_inspector, server, OWN) + images(docker_inspector, server, EDGE) == []
    assert len(server.tags(f"{RUN}/{OWN}")) == 2


def test_the_login_of_the_user(
    services: DockerStack, docker_inspector: DockerInspector, server: Registry
) -> None:
    """Without a login in the config: that of `docker login` is used, to push and to pull."""
    stack = services
    login = stack.user / ".docker" / "config.json"
    login.parent.mkdir()
    login.write_text(registry.config_with(server.address, (USER, PASSWORD)))
    try:
        place = {**stack.config["docker"], "registry": {"address": f"{server.address}/{RUN}"}}
        app = {"app": stack.service()}
        stack.write(appRef="v1", docker=place, services=app)
        result = stack.up()
        assert result.code == 0, result.text
        assert stack.http_get() == "app v1 on docker"
        (image,) = images(docker_inspector, server, APP)
        assert server.tags(f"{RUN}/{APP}") == [image.rpartition(":")[2]]
        result = stack.up()
        assert (result.code, result.summary()) == (0, CONVERGED), result.text
    finally:
        login.unlink()
