"""Services of a swarm: on a daemon of the test's own, for the machine's is nobody's to change."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.parse import urlencode

import pytest

from harness.daemons.swarm import be_swarm, missing, own_daemon
from tests.e2e.docker_stack import (
    AGAIN,
    APP,
    OWNED,
    OWNER,
    RUN,
    USERS,
    DockerInspector,
    DockerStack,
)
from tests.e2e.stack import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from harness.command_result import CommandResult, Json
    from harness.daemons.dockerd import Dockerd

pytestmark = pytest.mark.e2e
UNCHANGED: Final = 13
"""Stack, provider, release, fleet, build, an image of two, the network, and of the service: itself,
trial, secret, service, tasks."""
DATA: Final = f"{RUN}-data"
SERVES: Final = "exec /bin/busybox nc -ll -p 8080 -e /app/answer"
ASKS: Final = (
    "while :; do /bin/busybox wget -q -T 2 -O - http://tasks.app:8080/ || echo lost; "
    "/bin/busybox sleep 0.05; done >/log 2>&1"
)
"""By the names of the tasks: the machine's kernel may have no IPVS, which addresses of services
and published ports are made of."""


@pytest.fixture(scope="module")
def daemon(docker_inspector: DockerInspector) -> Iterator[Dockerd]:  # noqa: ARG001 skips what needs it
    """A daemon that is no swarm yet."""
    if reason := missing():
        pytest.skip(reason)
    with own_daemon(USERS) as made:
        yield made


@pytest.fixture(scope="module")
def stack(docker_place: Path, daemon: Dockerd, parts: dict[str, dict[str, Any]]) -> DockerStack:
    layer = str(parts["edge"]["layer"])
    return DockerStack.create(docker_place / "swarm", layer, daemon)


def listed(daemon: Dockerd, path: str, **filters: list[str]) -> list[Any]:
    found: list[Any] = daemon.ask("GET", f"{path}?{urlencode({'filters': json.dumps(filters)})}")
    return found


def write(stack: DockerStack, release: str, secret: str, **changes: Any) -> None:
    service = stack.service(strategy="swarm", edge=None, replicas=2, **changes)
    stack.write(appRef=release, services={"app": service})
    words = ("--secret", "--path", "services.app.secrets.TOKEN")
    stack._do("pulumi", "config", "set", *words, stdin=secret)


def running(daemon: Dockerd) -> list[Any]:
    """The containers of the tasks that run."""
    (service,) = listed(daemon, "/services", label=[OWNED, "flakeup.service=app"])
    return listed(
        daemon, "/containers/json", label=[f"com.docker.swarm.service.id={service['ID']}"]
    )


def assert_serves(daemon: Dockerd, release: str, secret: str, replicas: int = 2) -> None:
    """Each of the tasks, with what it was given, and nothing beside them."""
    # A swarm calls an update done when the old tasks have been told to stop.
    wait_for(lambda: len(running(daemon)) == replicas, 20)
    tasks = running(daemon)
    for task in tasks:
        ask = "/bin/busybox wget -q -O - http://127.0.0.1:8080/; cat /run/secrets/TOKEN"
        result = daemon.run(task["Id"], "/bin/busybox", "sh", "-c", ask)
        assert result.split("\r\n") == [f"app {release} on docker", secret]
        assert "hunter" not in str(daemon.container(task["Id"]))
    assert [one["Spec"]["Name"][:10] for one in listed(daemon, "/secrets")] == ["app-TOKEN-"]
    assert DockerInspector(daemon).candidates() == []


def good_up(stack: DockerStack, *words: str) -> CommandResult:
    result = stack.up(*words)
    assert result.code == 0, result.text
    assert "hunter" not in result.text
    kept = [file for file in stack.backend.state.rglob("*") if file.is_file()]
    assert not [file for file in kept if b"hunter" in file.read_bytes()]
    return result


class Asking:
    """Somebody in the service's network who asks it, again and again."""

    def __init__(self, daemon: Dockerd) -> None:
        self._daemon, self._name = daemon, f"{USERS}-asks"

    def __enter__(self) -> Self:
        (network,) = listed(self._daemon, "/networks", label=[f"flakeup.swarm={OWNER}"])
        body: Json = {
            "Image": DockerInspector(self._daemon).images()[0],
            "Cmd": ["/bin/busybox", "sh", "-c", ASKS],
            "HostConfig": {"NetworkMode": network["Name"]},
        }
        self._daemon.ask("POST", f"/containers/create?name={self._name}", body)
        self._daemon.ask("POST", f"/containers/{self._name}/start")
        return self

    def answers(self) -> list[str]:
        """All that it was told so far."""
        return self._daemon.run(self._name, "/bin/busybox", "cat", "/log").split("\r\n")

    def __exit__(self, *_: object) -> None:
        self._daemon.ask("DELETE", f"/containers/{self._name}?force=1")


def test_a_daemon_that_is_no_swarm_is_one_message(stack: DockerStack, daemon: Dockerd) -> None:
    write(stack, "v1", "hunter1")
    result = stack.up()
    assert result.code != 0
    (error,) = result.errors()
    assert error.startswith(f"no swarm: {daemon.host}: services.app has strategy: swarm")
    assert error.endswith("run `docker swarm init` there, or let docker.host be a manager")
    assert (
        DockerInspector(daemon).images()
        == DockerInspector(daemon).networks()
        == DockerInspector(daemon).containers()
        == []
    )


def test_releases_of_a_swarm(stack: DockerStack, daemon: Dockerd) -> None:
    be_swarm(daemon)
    write(stack, "v1", "hunter1")
    result = stack.preview()
    assert result.code == 0, result.text
    assert result.summary() == {"create": UNCHANGED - 1, "unchanged": 1}, (
        "the stack itself is there"
    )
    good_up(stack)
    assert_serves(daemon, "v1", "hunter1")
    (service,) = listed(daemon, "/services")
    ports = service["Spec"]["EndpointSpec"]["Ports"]
    assert [(one["PublishedPort"], one["TargetPort"]) for one in ports] == [(stack.port, 8080)]
    assert good_up(stack, "--refresh").summary() == {"unchanged": UNCHANGED}

    # Another release with another secret: nobody who asks notices.
    with Asking(daemon) as asking:
        write(stack, "v2", "hunter2")
        good_up(stack)
        assert_serves(daemon, "v2", "hunter2")
        time.sleep(1)
        answers = asking.answers()
    print(f"{len(answers)} answers, {answers.count('lost')} lost")  # noqa: T201 figures
    assert set(answers) == {"app v1 on docker", "app v2 on docker"}
    assert answers[-1] == "app v2 on docker"
    assert good_up(stack).summary() == {"unchanged": UNCHANGED}


def test_what_does_not_work_leaves_what_serves(stack: DockerStack, daemon: Dockerd) -> None:
    with Asking(daemon) as asking:
        # Only the swarm can say so: the candidate has no volumes.
        bad = ["/bin/busybox", "sh", "-c", f"[ -d /data ] && exit 3; {SERVES}"]
        write(stack, "v1", "hunter3", command=bad, volumes={DATA: "/data"})
        result = stack.up()
        assert result.code != 0
        assert "hunter" not in result.text
        assert "service rollback completed" in result.text
        # What was wanted is in the state of the service, and is not taken for done.
        assert stack.preview().summary() == {"update": 2, "unchanged": UNCHANGED - 2}
        answers = asking.answers()
    assert set(answers) == {"app v2 on docker"}

    # A release that the candidate already does not like changes nothing at all.
    tasks = {task["Id"] for task in running(daemon)}
    write(stack, "v3", "hunter3")
    result = stack.up()
    assert result.code != 0
    (error,) = result.errors()
    assert error.startswith("not healthy: app: ")
    assert error.endswith(AGAIN)
    assert {task["Id"] for task in running(daemon)} == tasks

    # And the next good one converges.
    write(stack, "v1", "hunter4", volumes={DATA: "/data"}, ports=None, healthcheck=None)
    good_up(stack)
    (service,) = listed(daemon, "/services")
    assert not service["Endpoint"].get("Ports")
    assert not service["Spec"]["TaskTemplate"]["ContainerSpec"]["Healthcheck"].get("Test")
    assert_serves(daemon, "v1", "hunter4")
    assert good_up(stack).summary() == {"unchanged": UNCHANGED}


def test_another_strategy_and_the_end(stack: DockerStack, daemon: Dockerd) -> None:
    """A service that was a swarm's may be a container, where it has no ports to hand over."""
    inspector = DockerInspector(daemon)
    stack.write(appRef="v1", services={"app": stack.service(edge=None, ports=None)})
    good_up(stack)
    assert listed(daemon, "/services") == listed(daemon, "/secrets") == []
    assert inspector.containers() == sorted(stack.containers().values())
    write(stack, "v2", "hunter5")
    good_up(stack)
    assert_serves(daemon, "v2", "hunter5")
    assert inspector.containers() == []

    result = stack.pulumi("destroy", "--yes", "--skip-preview")
    assert result.code == 0, result.text
    assert listed(daemon, "/services") == listed(daemon, "/secrets") == []
    assert (
        inspector.containers()
        == inspector.networks()
        == inspector.networks(f"flakeup.swarm={OWNER}")
        == []
    )
    assert inspector.images(APP) == []
    assert stack.state().get("resources", []) == []
