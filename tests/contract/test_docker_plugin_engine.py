"""The `docker` plugin under the real engine, with the Python SDK: what a user sees happen.

Runs against the project's stand-in, or against the binary that FLAKEUP_DOCKER_PLUGIN names.
"""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from tests.contract.docker_driver import STAND_IN, plugin_path
from tests.contract.docker_world import HEALTHY, SICK
from tests.contract.plugin_driver import PROJECT, Json

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.contract.dockerd import Dockerd

_ENV = PROJECT / "tools" / "env"
_PROGRAM = """\
import json, pathlib, pulumi, pulumi_docker

host = pulumi_docker.Provider("host", host=pulumi.Config().require("host"))
for name, spec in json.loads(pathlib.Path("resources.json").read_text()).items():
    opts = pulumi.ResourceOptions(provider=host, **spec.pop("opts", {}))
    made = getattr(pulumi_docker, spec.pop("kind"))(name, **spec, opts=opts)
    pulumi.export(name, made.id)
"""


def _missing_engine() -> str:
    if not os.access(_ENV, os.X_OK):
        return "tools/env is missing"
    found = subprocess.run(
        (str(_ENV), "sh", "-c", "command -v pulumi"), check=False, capture_output=True
    )
    return "" if found.returncode == 0 else "pulumi is missing: run tools/bootstrap"


_reason = _missing_engine()
pytestmark = [pytest.mark.contract, pytest.mark.skipif(bool(_reason), reason=_reason or "never")]


@dataclass(slots=True, kw_only=True)
class Stack:
    """A project with one stack in a folder of its own, and a plugin folder of its own."""

    folder: Path
    dockerd: Dockerd
    resources: dict[str, Json]

    @classmethod
    def make(cls, folder: Path, dockerd: Dockerd) -> Stack:
        (folder / "Pulumi.yaml").write_text("name: contract\nruntime: python\n")
        (folder / "__main__.py").write_text(_PROGRAM)
        (folder / "state").mkdir()
        place = folder / "home" / "plugins"
        if plugin_path() == STAND_IN:
            argv = (str(_ENV), str(STAND_IN.with_name("install")), str(place))
            subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)
        else:
            binary = place / "resource-docker-v5.2.0" / "pulumi-resource-docker"
            binary.parent.mkdir(parents=True)
            binary.symlink_to(plugin_path())
        stack = cls(folder=folder, dockerd=dockerd, resources={})
        stack.good("stack", "init", "dev")
        stack.good("config", "set", "host", dockerd.host)
        return stack

    def container(self, **changes: Json) -> Json:
        """The inputs of a container that stays."""
        base = {"image": self.dockerd.image, "command": ["sleep", "1000"]}
        return {"kind": "Container", **base, "labels": [self.dockerd.label], **changes}

    def run(self, *arguments: str) -> tuple[int, str]:
        """Run the CLI on the present resources; its status and all it said."""
        (self.folder / "resources.json").write_text(json.dumps(self.resources))
        environment = {
            **os.environ,
            "PULUMI_HOME": str(self.folder / "home"),
            "PULUMI_BACKEND_URL": f"file://{self.folder}/state",
            "PULUMI_CONFIG_PASSPHRASE": "",
            "PULUMI_IGNORE_AMBIENT_PLUGINS": "true",
            "NO_COLOR": "1",
        }
        done = subprocess.run(
            (str(_ENV), "pulumi", "--non-interactive", *arguments),
            cwd=self.folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=180,
            check=False,
        )
        return done.returncode, done.stdout

    def good(self, *arguments: str) -> str:
        """Run the CLI, which must succeed."""
        status, text = self.run(*arguments)
        assert status == 0, text
        return text

    def up(self) -> str:
        return self.good("up", "--yes", "--skip-preview")

    def bad_up(self) -> str:
        status, text = self.run("up", "--yes", "--skip-preview")
        assert status != 0, text
        return text

    def planned(self) -> dict[str, list[str]]:
        """What a preview would do, by resource; unchanged ones left out."""
        text = self.good("preview", "--json")
        told: dict[str, list[str]] = {}
        for step in json.loads(text[text.index("{") :])["steps"]:
            if step["op"] != "same" and "pulumi:pulumi:" not in step["urn"]:
                told.setdefault(step["urn"].rsplit("::", 1)[-1], []).append(step["op"])
        return told

    def outputs(self) -> Json:
        return json.loads(self.good("stack", "output", "--json"))

    def stored(self, name: str) -> Json:
        """A resource in the state."""
        resources = json.loads(self.good("stack", "export"))["deployment"]["resources"]
        found = [each for each in resources if each["urn"].endswith(f"::{name}")]
        assert len(found) == 1
        return found[0]


@pytest.fixture
def stack(tmp_path: Path, dockerd: Dockerd) -> Iterator[Stack]:
    made = tmp_path / "project"
    made.mkdir()
    stack = Stack.make(made, dockerd)
    yield stack
    stack.run("destroy", "--yes", "--skip-preview")


def test_the_life_of_a_service(stack: Stack, dockerd: Dockerd) -> None:
    labels = [dockerd.label]
    stack.resources = {
        f"{dockerd.prefix}-net": {"kind": "Network", "labels": labels},
        f"{dockerd.prefix}-data": {"kind": "Volume", "labels": labels},
        "app": stack.container(name=f"{dockerd.prefix}-app", destroy_grace_seconds=1),
    }
    assert list(stack.planned().values()) == [["create"]] * 4
    stack.up()
    first = stack.outputs()["app"]
    assert dockerd.container(first)["State"]["Running"]
    # A second one changes nothing, and a refresh finds nothing.
    assert stack.planned() == {}
    stack.good("refresh", "--yes", "--skip-preview", "--expect-no-changes")
    assert stack.planned() == {}
    # In place.
    stack.resources["app"]["restart"] = "always"
    assert stack.planned() == {"app": ["update"]}
    stack.up()
    assert dockerd.container(first)["HostConfig"]["RestartPolicy"]["Name"] == "always"
    # A replacement goes the way of the release: the old one is deleted first, its name is free.
    stack.resources["app"]["envs"] = ["A=b"]
    assert stack.planned() == {"app": ["replace"]}
    stack.up()
    second = stack.outputs()["app"]
    assert not dockerd.is_there(first)
    assert dockerd.container(second)["State"]["Running"]
    # Removed by somebody else: a refresh forgets it, and the next `up` makes it again.
    dockerd.ask("DELETE", f"/containers/{second}?force=1")
    stack.good("refresh", "--yes", "--skip-preview")
    assert stack.planned() == {"app": ["create"]}
    stack.up()
    stack.good("destroy", "--yes", "--skip-preview")
    assert not dockerd.is_there(stack.dockerd.prefix + "-app")


def test_create_before_delete_needs_a_name_that_is_made_up(stack: Stack, dockerd: Dockerd) -> None:
    name = f"{dockerd.prefix}-green"
    opts = {"delete_before_replace": False}
    given = {"healthcheck": HEALTHY, "wait": True, "opts": opts}
    stack.resources = {name: stack.container(**given)}
    stack.up()
    first = stack.outputs()[name]
    stack.resources = {name: stack.container(**given, envs=["A=b"])}
    assert stack.planned() == {name: ["replace"]}
    # One that never gets healthy is an error, and the old one stays.
    stack.resources[name] |= {"healthcheck": SICK, "wait_timeout": 3}
    text = stack.bad_up()
    assert "container failed to be in healthy state" in text
    assert dockerd.container(first)["State"]["Running"]
    # The trap of the release: the next `up` looks at no health, and deletes the old one.
    stack.up()
    assert not dockerd.is_there(first)


def test_a_failed_create_is_in_the_state(stack: Stack, dockerd: Dockerd) -> None:
    name = f"{dockerd.prefix}-sick"
    given = {"healthcheck": SICK, "wait": True, "wait_timeout": 3}
    stack.resources = {name: stack.container(**given)}
    text = stack.bad_up()
    assert text.count("container failed to be in healthy state") >= 1
    stored = stack.stored(name)
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
        # A client that says nothing gets `default`, which the release takes for another network.
        "HostConfig": {"NetworkMode": "bridge"},
    }
    made = dockerd.ask("POST", f"/containers/create?name={name}", body)["Id"]
    dockerd.ask("POST", f"/containers/{made}/start")
    # Labels are not looked at by an import: with them it would be a replacement.
    spec = stack.container(name=name, opts={"import_": made})
    del spec["labels"]
    stack.resources = {"known": spec}
    stack.up()
    assert stack.outputs()["known"] == made
    del spec["opts"]
    # What an import cannot see is set by the next update, which changes nothing in the world.
    assert set(stack.planned().get("known", ["update"])) == {"update"}
    stack.up()
    assert stack.planned() == {}
    assert dockerd.container(made)["State"]["Running"]
