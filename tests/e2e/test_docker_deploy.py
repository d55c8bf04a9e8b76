"""Releases of Docker services: clients notice nothing, not even a broken one."""

import os
import threading
import time
from collections.abc import Iterator

import pytest

from harness.daemons.daemon_proxy import DaemonProxy
from harness.http_load import SHORT_PERIOD, Load
from tests.e2e.docker_stack import (
    AGAIN,
    APP,
    CONVERGED,
    EDGE,
    DockerInspector,
    DockerStack,
    assert_converged,
    assert_serves,
    wait_until_gone,
)

pytestmark = pytest.mark.e2e
ASKED_FOR = 30.0
"""Seconds of requests over a release."""
HANDED_OVER_WITHIN = 5.0
"""Seconds between two processes of the edge; on a machine that is not busy, some milliseconds."""
GONE_WITHIN = 40.0


@pytest.fixture(scope="module")
def load(docker_stack: DockerStack) -> Iterator[Load]:
    """Clients of the service, from the first release to the end of the module."""
    with Load(docker_stack.port, SHORT_PERIOD) as clients:
        yield clients


def steps(stack: DockerStack) -> dict[str, tuple[str, dict[str, str]]]:
    """What a preview would do, by resource: the step and its new inputs, if any."""
    result = stack.preview("--json")
    assert result.code == 0, result.text
    return {
        step["urn"].rsplit("::", 1)[1]: (step["op"], step["newState"]["inputs"])
        for step in result.json["steps"]
        if step["op"] != "same" and step["newState"]
    }


def test_the_first_up_and_a_second_one(
    docker_stack: DockerStack, docker_inspector: DockerInspector, docker_proxy: DaemonProxy
) -> None:
    """A stack of services alone: no host, no ssh key."""
    stack = docker_stack
    stack.write(appRef="v1")
    with docker_proxy.down():
        planned = stack.preview()
        assert planned.code == 0, "no daemon is needed to see what would be made"
        assert planned.summary() == {"create": CONVERGED["unchanged"]}
        assert f"cannot reach Docker: {docker_proxy.host}: " in planned.diagnostics()
    result = stack.up()
    assert result.code == 0, result.text
    assert result.summary() == {"created": CONVERGED["unchanged"]}
    outputs = stack.outputs()
    assert outputs["hosts"] == {}
    assert outputs["services"] == {"app": stack.containers()["app"]}
    docker_proxy.reset()
    assert_converged(stack, docker_inspector, "v1")
    assert docker_proxy.changes() == [], "the second one only asks"


def test_a_preview_shows_images_and_containers_before_a_build(
    services: DockerStack, docker_proxy: DaemonProxy, docker_inspector: DockerInspector
) -> None:
    old, (image,) = services.containers()["app"], docker_inspector.images()
    services.write(appRef=services.other)
    path = steps(services)[APP][1]["built"]
    services._do("sh", "-c", f"! test -e {path} || nix-store --delete {path}")
    docker_proxy.reset()
    found = steps(services)
    assert not os.path.exists(path)  # noqa: PTH110 a path in a state
    assert docker_proxy.changes() == []
    digest = path.removeprefix("/nix/store/").partition("-")[0]
    assert found[APP] == (
        "replace",
        {"host": docker_proxy.host, "ref": f"{APP}:{digest}", "built": path},
    )
    assert f"{APP}:{digest}" != image
    assert found["app"][0] == "replace"
    assert found["app"][1]["image"] == f"{APP}:{digest}"
    assert found["app"][1]["name"] != old
    assert {name: step for name, (step, _) in found.items()} == {
        "release": "update",
        "build": "update",
        APP: "replace",
        "app-candidate": "update",
        "app": "replace",
        "app-traffic": "update",
    }
    with docker_proxy.down():
        result = services.preview()
        assert result.code == 0, result.text
        assert "using the state instead" in result.diagnostics()
        # Exactly what it shows with a daemon, and the provider that is not connected to it.
        away = {name: step for name, (step, _) in steps(services).items()}
    assert away == {**{name: step for name, (step, _) in found.items()}, "docker": "update"}


def test_an_up_without_a_daemon_changes_nothing(
    services: DockerStack, docker_proxy: DaemonProxy
) -> None:
    """The message is the program's: the provider does not say which daemon it is."""
    before = services.state()["resources"]
    with docker_proxy.down():
        result = services.up()
    assert result.code != 0
    (error,) = result.errors()
    assert error.startswith(f"cannot reach Docker: {docker_proxy.host}: ")
    assert services.state()["resources"] == before
    services.release = "v1"


@pytest.mark.parametrize("way", ["a release", "the way back"])
def test_the_old_container_is_removed_soon_after_the_switch(
    services: DockerStack, docker_inspector: DockerInspector, load: Load, way: str
) -> None:
    """Until then it answers: by the times of the answers, the traffic switched once."""
    new, before, gone = services.other, services.containers()["app"], []
    thread = threading.Thread(
        target=lambda: gone.append(wait_until_gone(docker_inspector, before, 150))
    )
    thread.start()
    began = time.monotonic()
    services.write(appRef=new)
    result = services.up()
    thread.join()
    assert result.code == 0, result.text
    assert result.summary() == {"updated": 4, "replaced": 2, "changes": 6, "unchanged": 10}
    answer = f"app {new} on docker"
    gate = min(at for at, text in load.answers if text == answer and at > began)
    # The edge's previous worker takes requests until it is told to stop, by the next one.
    assert {text for at, text in load.asked if at > gate + HANDED_OVER_WITHIN} == {answer}
    assert gone[0] - gate < GONE_WITHIN
    print(  # noqa: T201 figures
        f"{way}: `up` {result.seconds:.1f} s, the old container gone {gone[0] - gate:.1f} s"
        " after the new one's first answer"
    )
    assert_serves(services, docker_inspector, new)


def test_a_broken_release_changes_nothing(
    services: DockerStack, docker_inspector: DockerInspector, load: Load
) -> None:
    """State and traffic stay; a return to the release that serves only removes the new image."""
    old, began = services.release, time.monotonic()
    containers, images = docker_inspector.containers(), docker_inspector.images()
    services.write(appRef="v3")
    result = services.up()
    assert result.code != 0
    assert {text for at, text in load.answers if at > began} == {f"app {old} on docker"}
    (error,) = result.errors()
    assert error.startswith("not healthy: app: its health check says: wget: ")
    assert "can't open '/app/settings.sh': No such file or directory" in error
    assert error.endswith(AGAIN)
    assert docker_inspector.containers() == containers
    assert docker_inspector.candidates() == []
    assert services.traffic() == services.containers()["app"]
    # The image is kept for the next attempt; the state has both images.
    (new,) = set(docker_inspector.images()) - set(images)
    recorded = {
        one["outputs"]["ref"]: bool(one.get("delete"))
        for one in services.state()["resources"]
        if one["type"] == "flakeup:docker:Image" and EDGE not in one["outputs"]["ref"]
    }
    assert recorded == {new: False, images[0]: True}

    services.write(appRef=old)
    result = services.up()
    assert result.code == 0, result.text
    assert docker_inspector.containers() == containers, "it is the same container"
    assert docker_inspector.images() == images
    assert_converged(services, docker_inspector, old)


def test_no_request_was_lost_in_the_whole_module(load: Load) -> None:
    """A release, a rollback and a broken release, at up to 200 requests a second."""
    began = min(at for at, _ in load.answers)
    time.sleep(max(0.0, ASKED_FOR - (time.monotonic() - began)))
    seconds = time.monotonic() - began
    print(  # noqa: T201 figures
        f"{len(load.answers)} answers in {seconds:.0f} s"
        f" ({len(load.answers) / seconds:.0f} a second), {len(load.lost)} lost; "
        f"longest time without one {load.gap():.3f} s"
    )
    assert load.lost == []
    assert len(load.answers) > 1000
