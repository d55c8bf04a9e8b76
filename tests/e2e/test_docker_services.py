"""Services of a stack: replaced in place, several of them, removed, and destroyed."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Final

import pytest

from harness.daemons.dockerd import LABEL
from harness.http_load import Load, http_get
from tests.e2e.docker_stack import (
    AGAIN,
    APP,
    EDGE,
    RUN,
    USERS,
    DockerInspector,
    DockerStack,
    assert_converged,
)
from tests.e2e.stack import TIMEOUT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.command_result import CommandResult, Json
    from harness.daemons.daemon_proxy import DaemonProxy
    from tests.e2e.stack import Engine

pytestmark = pytest.mark.e2e
STARTED: Final = r"^GET /v1\.\d+/containers/[0-9a-f]{64}/json"
"""The provider's request once a container runs."""
PLANTED: Final = {LABEL: USERS}
AT_ONCE: Final = 50
"""Requests under way while traffic is switched: both processes of the edge take some."""
LOG: Final = f"{RUN}-log"
WRITES: Final = [
    "/bin/busybox",
    "sh",
    "-c",
    'echo "$WHO" >>/data/log; exec /bin/busybox nc -ll -p 8080 -e /app/answer',
]


def good_up(stack: DockerStack, *words: str) -> CommandResult:
    result = stack.up(*words)
    assert result.code == 0, result.text
    return result


def kill_once_started(stack: DockerStack, proxy: DaemonProxy) -> None:
    """Kill an `up` when a container runs, and before the state knows it."""
    proxy.reset()
    trouble = proxy.delay(STARTED, 60)
    stack.release = ""
    with stack.running("up", "--yes", "--skip-preview") as engine:
        trouble.wait(TIMEOUT)
        end(engine, proxy)
    stack.cancel()


def end(engine: Engine, proxy: DaemonProxy) -> None:
    engine.kill()
    proxy.reset()


def test_a_recreated_edge_serves_until_the_new_container_is_healthy(
    services: DockerStack,
) -> None:
    """A new port with a new release: only the new edge has it, and serves the old release."""
    old, new = services.release, services.other
    first, more = services.containers()["app-edge"], services.port + 1
    ports = {str(services.port): "8080", str(more): "8080"}
    services.write(appRef=new, services={"app": services.service(ports=ports)})
    with Load(services.port) as load, Load(more) as fresh:
        good_up(services)
    assert services.containers()["app-edge"] != first
    before, after = (f"app {one} on docker" for one in (old, new))
    assert {text for _, text in load.answers} == {before, after}
    # How long it serves the old release is the engine's to decide: it may be no time at all.
    texts = [text for _, text in sorted(fresh.asked)]
    assert set(texts) - {before} == {after}
    assert before not in texts[texts.index(after) + AT_ONCE :], "back to the old release"


def test_a_secret_in_the_environment_is_encrypted_in_the_state(
    docker_stack: DockerStack, docker_inspector: DockerInspector, docker_proxy: DaemonProxy
) -> None:
    """Set with `pulumi config`; the daemon has it in clear, as the service needs it."""
    services, secret = docker_stack, "hunter2-e2e"
    docker_proxy.reset()
    services.write(appRef="v1")
    services._do("pulumi", "config", "set", "--secret", "--path", "services.app.env.TOKEN", secret)
    result = services.preview("--diff")
    assert result.code == 0, result.text
    assert secret not in result.text
    result = good_up(services)
    assert secret not in result.text
    container = services.containers()["app"]
    assert f"TOKEN={secret}" in docker_inspector.daemon.container(container)["Config"]["Env"]
    kept = [file for file in services.backend.state.rglob("*") if file.is_file()]
    assert not [file for file in kept if secret.encode() in file.read_bytes()]
    # The check can find text: what is not secret is there.
    assert [file for file in kept if b"healthcheck" in file.read_bytes()]


@pytest.fixture
def log(docker_inspector: DockerInspector) -> Iterator[str]:
    """A volume that the service writes to; removed after the test."""
    yield LOG
    docker_inspector.delete(f"/volumes/{LOG}?force=1")


def test_a_service_that_is_recreated(
    docker_stack: DockerStack,
    docker_inspector: DockerInspector,
    docker_proxy: DaemonProxy,
    log: str,
) -> None:
    """The strategy `recreate`, from blue-green and back: an outage, but not for a broken one."""
    services = docker_stack
    docker_proxy.reset()

    def service(who: str) -> Json:
        return services.service(
            strategy="recreate",
            edge=None,
            env={"WHO": who},
            command=WRITES,
            volumes={log: "/data"},
        )

    # The port moves from the edge to the container.
    services.write(appRef="v1", services={"app": service("one")})
    good_up(services)
    assert services.http_get() == "app v1 on docker"
    assert docker_inspector.containers() == [services.containers()["app"]]
    assert docker_inspector.images(EDGE) == []

    # A broken release: the old container is not even stopped.
    old = services.containers()["app"]
    services.write(appRef="v3", services={"app": service("three")})
    with Load(services.port) as load:
        result = services.up()
    assert result.code != 0
    assert load.lost == []
    (error,) = result.errors()
    assert error.startswith("not healthy: app: ")
    assert error.endswith(AGAIN)
    assert docker_inspector.containers() == [old]

    # Killed between the container's start and the state: it has the port and the volume.
    services.write(appRef="v2", services={"app": service("two")})
    kill_once_started(services, docker_proxy)
    assert not docker_inspector.daemon.is_there(old)
    good_up(services)
    new = services.containers()["app"]
    assert docker_inspector.containers() == [new]
    assert services.http_get() == "app v2 on docker"
    # The volume has an entry of each: the first, the killed one, and its successor.
    assert docker_inspector.daemon.run(new, "/bin/busybox", "cat", "/data/log").split() == [
        "one",
        "two",
        "two",
    ]
    found = docker_inspector.daemon.container(new)["Config"]
    assert (found["Cmd"], "WHO=two" in found["Env"]) == (WRITES, True)

    # The port moves back to an edge, whose `up` is killed too, so that the state does not know it.
    services.write(appRef="v2")
    kill_once_started_edge(services, docker_proxy)
    good_up(services)
    assert_converged(services, docker_inspector, "v2")


def kill_once_started_edge(stack: DockerStack, proxy: DaemonProxy) -> None:
    proxy.reset()
    # The container comes first, and passes.
    first = proxy.delay(STARTED, 0)
    second = proxy.delay(STARTED, 60)
    stack.release = ""
    with stack.running("up", "--yes", "--skip-preview") as engine:
        first.wait(TIMEOUT)
        second.wait(TIMEOUT)
        end(engine, proxy)
    stack.cancel()


def test_a_port_in_use_is_refused_before_anything_changes(
    services: DockerStack, docker_inspector: DockerInspector
) -> None:
    release, containers = services.release, docker_inspector.containers()
    with socket.create_server(("0.0.0.0", 0)) as other:  # noqa: S104 as Docker publishes ports
        port = other.getsockname()[1]
        service = services.service(ports={str(port): "8080"})
        services.write(appRef=services.other, services={"app": service})
        result = services.up()
    assert result.code != 0
    (error,) = result.errors()
    assert error.startswith("port already in use: app: ")
    assert f"{port}" in error
    assert error.endswith("free it, or use another port in services.app")
    assert services.http_get() == f"app {release} on docker"
    assert docker_inspector.containers() == containers
    services.write(appRef=release)
    good_up(services)
    assert docker_inspector.containers() == containers
    services.release = release


@pytest.fixture
def users(docker_inspector: DockerInspector) -> Iterator[dict[str, list[str]]]:
    """What somebody else has on the daemon, some of it similar to the stack's."""
    inspector = docker_inspector
    image = inspector.images()[0]
    inspector.post(f"/images/{image}/tag?repo={USERS}&tag=v1")
    inspector.post(f"/images/{image}/tag?repo={APP}&tag=v1")
    inspector.post("/networks/create", {"Name": f"{USERS}-services", "Labels": PLANTED})
    inspector.post("/volumes/create", {"Name": f"{USERS}-data", "Labels": PLANTED})
    for short, labels in (
        ("app-0123456", {}),
        ("of-another-stack", {"flakeup.owner": "flakeup/other", "flakeup.service": "app"}),
        ("candidate", {"flakeup.candidate": "flakeup/other/app"}),
    ):
        name = f"{USERS}-{short}"
        body = {
            "Image": f"{USERS}:v1",
            "Cmd": ["/bin/busybox", "sleep", "1000"],
            "Labels": {**PLANTED, **labels},
        }
        inspector.post(f"/containers/create?name={name}", body)
        inspector.post(f"/containers/{name}/start")
    yield planted(inspector)
    inspector.clean(USERS)


def planted(inspector: DockerInspector) -> dict[str, list[str]]:
    label = f"{LABEL}={USERS}"
    running = [
        name
        for name in inspector.containers(label)
        if inspector.daemon.container(name)["State"]["Running"]
    ]
    return {
        "containers": running,
        "networks": inspector.networks(label),
        "volumes": inspector.volumes(label),
        "images": inspector.images(USERS)
        + [tag for tag in inspector.images() if tag == f"{APP}:v1"],
    }


def test_two_services_one_removed_and_the_stack_destroyed(
    services: DockerStack,
    docker_inspector: DockerInspector,
    docker_proxy: DaemonProxy,
    users: dict[str, list[str]],
) -> None:
    inspector = docker_inspector
    release, port = services.release, services.port + 2
    worker = {"image": APP, "env": {"N": "1"}, "wait": "30s", "grace": "1s"}
    web = services.service(ports={str(port): "8080"})
    both = {"app": services.service(), "web": web, "worker": worker}
    services.write(appRef=release, services=both)
    good_up(services)
    assert http_get(port) == services.http_get() == f"app {release} on docker"
    known = services.containers()
    assert known.keys() == {"app", "app-edge", "web", "web-edge", "worker"}
    assert inspector.containers() == sorted(known.values())

    # A broken one does not stop the other with `--continue-on-error`.
    bad = {**web, "healthcheck": ["/bin/busybox", "false"]}
    services.write(
        appRef=release, services={**both, "web": bad, "worker": {**worker, "env": {"N": "2"}}}
    )
    result = services.up("--continue-on-error")
    assert result.code != 0
    (error,) = result.errors()
    assert error.startswith("not healthy: web: ")
    assert "Traceback" not in result.text
    after = services.containers()
    assert {name for name in known if after[name] != known[name]} == {"worker"}
    assert inspector.containers() == sorted(after.values())
    assert http_get(port) == f"app {release} on docker"

    # Removed from the config.
    services.write(appRef=release)
    good_up(services)
    assert_converged_with(services, inspector, release)

    # Destroyed, with what a killed `up` has left.
    services.write(appRef=services.other)
    kill_once_started(services, docker_proxy)
    assert len(inspector.containers()) == 3
    result = services.pulumi("destroy", "--yes", "--skip-preview")
    assert result.code == 0, result.text
    assert inspector.containers() == []
    assert inspector.candidates() == inspector.networks() == inspector.images(EDGE) == []
    assert inspector.images() == [f"{APP}:v1"]
    assert services.state().get("resources", []) == []
    assert planted(inspector) == users
    assert len(users["containers"]) == 3


def assert_converged_with(stack: DockerStack, inspector: DockerInspector, release: str) -> None:
    """One service again, and all that is somebody else's."""
    known = stack.containers()
    assert inspector.containers() == sorted(known.values())
    assert known.keys() == {"app", "app-edge"}
    assert stack.http_get() == f"app {release} on docker"
    stack.release = release
