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
    made.use(plugin_path(), STAND_IN, VERSION)
    made.begin(_PROGRAM)
    made.good("config", "set", "host", dockerd.host)
    yield made
    made.run("destroy", "--yes", "--skip-preview")


def test_the_life_of_a_service(stack: Stack, dockerd: Dockerd) -> None:
    labels = [dockerd.label]
    stack.resources = {
        f"{dockerd.prefix}-net": {"kind": "Network", "labels": labels},
        f"{dockerd.prefix}-data": {"kind": "Volume", "labels": labels},
        "app": container(dockerd, name=f"{dockerd.prefix}-app", destroy_grace_seconds=1),
    }
    assert list(stack.planned().values()) == ["create"] * 4
    stack.good_up()
    first = stack.outputs()["app"]
    assert dockerd.container(first)["State"]["Running"]
    # A second `up` changes nothing, and a refresh finds no drift.
    assert stack.planned() == {}
    stack.good("refresh", "--yes", "--skip-preview", "--expect-no-changes")
    assert stack.planned() == {}
    # In place.
    stack.resources["app"]["restart"] = "always"
    assert stack.planned() == {"app": "update"}
    stack.good_up()
    assert dockerd.container(first)["HostConfig"]["RestartPolicy"]["Name"] == "always"
    # The released plugin deletes the old container first, so that its name is free.
    stack.resources["app"]["envs"] = ["A=b"]
    assert stack.planned() == {"app": "replace"}
    stack.good_up()
    second = stack.outputs()["app"]
    assert not dockerd.is_there(first)
    assert dockerd.container(second)["State"]["Running"]
    # Removed by somebody else: a refresh drops it, and the next `up` creates it again.
    dockerd.request("DELETE", f"/containers/{second}?force=1")
    stack.good("refresh", "--yes", "--skip-preview")
    assert stack.planned() == {"app": "create"}
    stack.good_up()
    stack.good("destroy", "--yes", "--skip-preview")
    assert not dockerd.is_there(f"{dockerd.prefix}-app")


def test_create_before_delete_needs_a_generated_name(stack: Stack, dockerd: Dockerd) -> None:
    name = f"{dockerd.prefix}-green"
    opts = {"delete_before_replace": False}
    given = {"healthcheck": HEALTHY, "wait": True, "opts": opts}
    stack.resources = {name: container(dockerd, **given)}
    stack.good_up()
    first = stack.outputs()[name]
    stack.resources = {name: container(dockerd, **given, envs=["A=b"])}
    assert stack.planned() == {name: "replace"}
    # One that never becomes healthy is an error, and the old one stays.
    stack.resources[name] |= {"healthcheck": SICK, "wait_timeout": 3}
    text = stack.bad_up()
    assert "container failed to be in healthy state" in text
    assert dockerd.container(first)["State"]["Running"]
    # A defect of the released plugin: the next `up` ignores its health, and deletes the old one.
    stack.good_up()
    assert not dockerd.is_there(first)


def test_a_failed_create_is_recorded(stack: Stack, dockerd: Dockerd) -> None:
    name = f"{dockerd.prefix}-sick"
    given = {"healthcheck": SICK, "wait": True, "wait_timeout": 3}
    stack.resources = {name: container(dockerd, **given)}
    text = stack.bad_up()
    assert text.count("container failed to be in healthy state") >= 1
    stored = stack.stored()[name]
    assert stored["initErrors"]
    assert dockerd.container(stored["id"])["State"]["Running"]
    stack.good("destroy", "--yes", "--skip-preview")
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
    stack.good_up()
    assert stack.outputs()["known"] == made
    del spec["opts"]
    # The next update records what an import cannot read; it changes nothing on the daemon.
    assert stack.planned() in ({}, {"known": "update"})
    stack.good_up()
    assert stack.planned() == {}
    assert dockerd.container(made)["State"]["Running"]
