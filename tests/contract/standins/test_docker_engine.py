"""The `docker` plugin under the real engine, with the Python SDK: what a user sees.

Runs against the stand-in, or against the binary that FLAKEUP_DOCKER_PLUGIN names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from harness.daemons.docker_fixtures import HEALTHY, SICK
from harness.daemons.engine_stack import Stack, missing_engine
from harness.providers.docker_driver import STAND_IN, plugin_path

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from harness.daemons.dockerd import Dockerd
    from harness.providers.plugin_driver import Json

VERSION = "5.2.0"
_PROGRAM = """\
import json, pathlib, pulumi, pulumi_docker

host = pulumi_docker.Provider("host", host=pulumi.Config().require("host"))
for name, spec in json.loads(pathlib.Path("resources.json").read_text()).items():
    opts = pulumi.ResourceOptions(provider=host, **spec.pop("opts", {}))
    made = getattr(pulumi_docker, spec.pop("kind"))(name, **spec, opts=opts)
    pulumi.export(name, made.id)
"""


_reason = missing_engine()
pytestmark = [pytest.mark.contract, pytest.mark.skipif(bool(_reason), reason=_reason or "never")]


def container(dockerd: Dockerd, **changes: Json) -> Json:
    """The arguments of a container that keeps running."""
    base = {"image": dockerd.image, "command": ["sleep", "1000"]}
    return {"kind": "Container", **base, "labels": [dockerd.label], **changes}


@pytest.fixture
def stack(tmp_path: Path, dockerd: Dockerd) -> Iterator[Stack]:
    made = Stack(folder=tmp_path / "project")
    made.folder.mkdir()
    made.install_plugin(plugin_path(), STAND_IN, VERSION)
    made.init(_PROGRAM)
    made.run_ok("config", "set", "host", dockerd.host)
    yield made
    made.run("destroy", "--yes", "--skip-preview")


def test_the_life_of_a_service(stack: Stack, dockerd: Dockerd) -> None:
    labels = [dockerd.label]
    stack.resources = {
        f"{dockerd.prefix}-net": {"kind": "Network", "labels": labels},
        f"{dockerd.prefix}-data": {"kind": "Volume", "labels": labels},
        "app": container(dockerd, name=f"{dockerd.prefix}-app", destroy_grace_seconds=1),
    }
    assert list(stack.preview().values()) == ["create"] * 4
    stack.up_ok()
    first = stack.outputs()["app"]
    assert dockerd.container(first)["State"]["Running"]
    # A second `up` changes nothing, and a refresh finds no drift.
    assert stack.preview() == {}
    stack.run_ok("refresh", "--yes", "--skip-preview", "--expect-no-changes")
    assert stack.preview() == {}
    # In place.
    stack.resources["app"]["restart"] = "always"
    assert stack.preview() == {"app": "update"}
    stack.up_ok()
    assert dockerd.container(first)["HostConfig"]["RestartPolicy"]["Name"] == "always"
    # The released plugin deletes the old container first, so that its name is free.
    stack.resources["app"]["envs"] = ["A=b"]
    assert stack.preview() == {"app": "replace"}
    stack.up_ok()
    second = stack.outputs()["app"]
    assert not dockerd.is_there(first)
    assert dockerd.container(second)["State"]["Running"]
    # Removed by somebody else: a refresh drops it, and the next `up` creates it again.
    dockerd.request("DELETE", f"/containers/{second}?force=1")
    stack.run_ok("refresh", "--yes", "--skip-preview")
    assert stack.preview() == {"app": "create"}
    stack.up_ok()
    stack.run_ok("destroy", "--yes", "--skip-preview")
    assert not dockerd.is_there(f"{dockerd.prefix}-app")


def test_create_before_delete_needs_a_generated_name(stack: Stack, dockerd: Dockerd) -> None:
    name = f"{dockerd.prefix}-green"
    opts = {"delete_before_replace": False}
    given = {"healthcheck": HEALTHY, "wait": True, "opts": opts}
    stack.resources = {name: container(dockerd, **given)}
    stack.up_ok()
    first = stack.outputs()[name]
    stack.resources = {name: container(dockerd, **given, envs=["A=b"])}
    assert stack.preview() == {name: "replace"}
    # One that never becomes healthy is an error, and the old one stays.
    stack.resources[name] |= {"healthcheck": SICK, "wait_timeout": 3}
    text = stack.up_fails()
    assert "container failed to be in healthy state" in text
    assert dockerd.container(first)["State"]["Running"]
    # A defect of the released plugin: the next `up` ignores its health, and deletes the old one.
    stack.up_ok()
    assert not dockerd.is_there(first)


def test_a_failed_create_is_recorded(stack: Stack, dockerd: Dockerd) -> None:
    name = f"{dockerd.prefix}-sick"
    given = {"healthcheck": SICK, "wait": True, "wait_timeout": 3}
    stack.resources = {name: container(dockerd, **given)}
    text = stack.up_fails()
    assert text.count("container failed to be in healthy state") >= 1
    stored = stack.resources_in_state()[name]
    assert stored["initErrors"]
    assert dockerd.container(stored["id"])["State"]["Running"]
    stack.run_ok("destroy", "--yes", "--skip-preview")
    assert not dockerd.is_there(stored["id"])


def test_import(stack: Stack, dockerd: Dockerd) -> None:
    name = f"{dockerd.prefix}-known"
    body = {
        "Image": dockerd.image,
        "Cmd": ["sleep", "1000"],
        "Labels": {dockerd.label["label"]: dockerd.label["value"]},
        # Unset, it would be `default`, which the released plugin takes for another network.
        "HostConfig": {"NetworkMode": "bridge"},
    }
    made = dockerd.request("POST", f"/containers/create?name={name}", body)["Id"]
    dockerd.request("POST", f"/containers/{made}/start")
    # An import does not read labels: with them, it would be a replacement.
    spec = container(dockerd, name=name, opts={"import_": made})
    del spec["labels"]
    stack.resources = {"known": spec}
    stack.up_ok()
    assert stack.outputs()["known"] == made
    del spec["opts"]
    # The next update records what an import cannot read; it changes nothing on the daemon.
    assert stack.preview() in ({}, {"known": "update"})
    stack.up_ok()
    assert stack.preview() == {}
    assert dockerd.container(made)["State"]["Running"]
