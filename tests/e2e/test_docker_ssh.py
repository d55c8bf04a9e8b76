"""Services on a Docker daemon over ssh: as on this machine, with a pinned host key."""

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.pipeline.values import HostKey
from harness.command_result import CommandResult
from harness.daemons.daemon_proxy import DaemonProxy
from harness.daemons.far_docker import host_of, machine, where
from harness.daemons.sshd import Sshd, missing
from harness.http_load import Load
from tests.e2e.docker_stack import CONVERGED, RUN, DockerInspector, DockerStack

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(bool(missing()), reason=missing() or "never"),
    pytest.mark.skipif(shutil.which("docker") is None, reason="no docker client on PATH"),
]
OWNED = f"flakeup.owner=flakeup/{RUN}-far/"


class FarStack(DockerStack):
    """A stack of its own: over ssh, the same daemon is another one to it."""

    name = f"{RUN}-far"
    app = f"{RUN}-far-app"
    edge = f"{RUN}-far-edge"


class Far:
    """The machine of the daemon, which may stop, and return with another key."""

    def __init__(self, folder: Path, proxy: DaemonProxy) -> None:
        self.folder, self._daemon = folder, proxy.host
        self.server = machine(folder, self._daemon)

    def stop(self) -> None:
        self.server.kill_sessions()
        self.server.stop()

    def replace(self) -> None:
        """Another machine answers there."""
        for name in ("host_key", "host_key.pub"):
            (self.folder / name).unlink()
        self.server = machine(self.folder, self._daemon, port=self.server.port)


@pytest.fixture(scope="module")
def far(docker_place: Path, docker_proxy: DaemonProxy) -> Iterator[Far]:
    made = Far(docker_place / "sshd", docker_proxy)
    yield made
    made.stop()


@pytest.fixture(scope="module")
def stack(
    docker_place: Path, docker_proxy: DaemonProxy, far: Far, parts: dict[str, dict[str, Any]]
) -> FarStack:
    layer = str(parts["edge"]["layer"])
    made = FarStack.with_service(docker_place / "far", layer, docker_proxy)
    assert isinstance(made, FarStack)
    made._do("pulumi", "config", "set", "--secret", "sshKey", stdin=far.server.client_key_text)
    config = yaml.safe_load(made._file.read_text())["config"]
    made.config |= {"sshKey": config["flakeup:sshKey"], "docker": daemon(far.server)}
    # HAProxy drops longer requests: on a busy machine, one second is too short.
    made.config["services"] = {"app": made.service(grace="5s")}
    return made


def daemon(server: Sshd) -> dict[str, str]:
    return {"host": host_of(server), "hostKey": server.host_key_line}


def went_well(result: CommandResult) -> dict[str, int]:
    assert result.code == 0, result.text
    return result.summary()


def test_the_first_up_and_a_second_one(
    stack: FarStack, far: Far, docker_proxy: DaemonProxy
) -> None:
    stack.write(appRef="v1")
    assert went_well(stack.up()) == {"created": CONVERGED["unchanged"]}
    assert stack.http_get() == "app v1 on docker"
    docker_proxy.reset()
    asked = far.server.connections()
    assert went_well(stack.up()) == CONVERGED
    assert docker_proxy.changes() == []
    assert docker_proxy.requests() != []
    assert far.server.connections() - asked == 1, "all requests use one connection"
    text = json.dumps(stack.state())
    assert str(stack.folder) not in text, "no input depends on the machine that runs the program"
    assert "PRIVATE KEY" not in text
    assert f"UserKnownHostsFile=.flakeup/{stack.name}/ssh/docker-127.0.0.1-" in text


def test_a_release_without_lost_requests(
    stack: FarStack, docker_inspector: DockerInspector
) -> None:
    with Load(stack.port) as load:
        stack.write(appRef="v2")
        result = stack.up()
        assert went_well(result)["replaced"] == 2
        time.sleep(1)
    moved = load.first("app v2 on docker")
    assert load.lost == [], [f"{at - moved:+.2f} s: {why}" for at, why in load.lost]
    assert load.answers[-1][1] == "app v2 on docker"
    assert len(docker_inspector.containers(OWNED)) == 2
    assert len(docker_inspector.images(stack.app)) == 1
    print(  # noqa: T201 figures
        f"`up` {result.seconds:.1f} s; {len(load.answers)} answers, "
        f"longest time without one {load.gap():.3f} s"
    )


def test_an_unavailable_machine_and_one_with_another_key(
    stack: FarStack, far: Far, docker_proxy: DaemonProxy, docker_inspector: DockerInspector
) -> None:
    """Unavailable: the state counts. Another key: no request is sent, and nothing changes."""
    pinned = far.server.host_key_line
    containers, images = docker_inspector.containers(OWNED), docker_inspector.images(stack.app)
    far.stop()
    away = stack.preview()
    assert went_well(away) == CONVERGED
    assert away.diagnostics().count("cannot reach the machine of Docker") == 1
    assert "using the state instead" in away.diagnostics()

    far.replace()
    before, offered = stack.state(), far.server.host_key_line
    docker_proxy.reset()
    stack.write(appRef="v1")
    message = (
        f"host key mismatch: {where(far.server)}: "
        f"pinned {HostKey.parse(pinned).fingerprint}, "
        f"offered {HostKey.parse(offered).fingerprint}. "
        "find out why it changed; only then put the new key into docker.hostKey"
    )
    for refused in (stack.preview(), stack.up()):
        assert refused.code != 0
        assert refused.errors() == [message], refused.text
    assert docker_proxy.requests() == []
    assert docker_inspector.containers(OWNED) == containers
    assert docker_inspector.images(stack.app) == images
    assert of_docker(stack.state()) == of_docker(before)

    # With the new key in the config nothing changes either.
    stack.write(appRef="v2", docker=daemon(far.server))
    # Of the refused `up`, the record of the release and the build were done.
    assert went_well(stack.up()) == {"updated": 2, "unchanged": CONVERGED["unchanged"] - 2}
    assert docker_proxy.changes() == []
    went_well(stack.pulumi("destroy", "--yes", "--skip-preview"))
    assert docker_inspector.containers(OWNED) == []
    assert docker_inspector.networks(OWNED) == []


def of_docker(state: dict[str, Any]) -> list[Any]:
    """What the state has of the daemon."""
    return [one for one in state["resources"] if "docker" in one["type"]]
