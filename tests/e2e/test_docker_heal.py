"""What somebody has done to a service by hand, and the traps of the provider: `up` heals it."""

from __future__ import annotations

import http.client
import os
import signal
from typing import TYPE_CHECKING

import pytest

from tests.e2e.docker_stack import (
    CONVERGED,
    HEALTHCHECK,
    DockerInspector,
    DockerStack,
    assert_converged,
    assert_serves,
)
from tests.e2e.stack import wait_for

if TYPE_CHECKING:
    from harness.command_result import CommandResult

pytestmark = pytest.mark.e2e


def good_up(stack: DockerStack, *words: str) -> CommandResult:
    result = stack.up(*words)
    assert result.code == 0, result.text
    return result


def test_times_change_nothing_that_runs_and_a_health_check_does(
    services: DockerStack, docker_inspector: DockerInspector
) -> None:
    """The provider itself takes another health check alone for no change, and reports success."""
    release, containers = services.release, docker_inspector.containers()
    old = services.containers()["app"]
    service = services.service(wait="15s", grace="2s")
    services.write(appRef=release, services={"app": service})
    good_up(services)
    assert docker_inspector.containers() == containers
    assert_serves(services, docker_inspector, release)

    changed = [*HEALTHCHECK[:-1], "http://127.0.0.1:8080/healthz"]
    services.write(appRef=release, services={"app": services.service(healthcheck=changed)})
    good_up(services)
    assert_serves(services, docker_inspector, release)
    new = services.containers()["app"]
    assert new != old
    assert docker_inspector.daemon.container(new)["Config"]["Healthcheck"]["Test"] == [
        "CMD",
        *changed,
    ]
    services.write(appRef=release)
    good_up(services)
    assert_serves(services, docker_inspector, release)


def test_a_container_that_was_stopped_is_named_and_started_again(
    services: DockerStack, docker_inspector: DockerInspector
) -> None:
    release, container = services.release, services.containers()["app"]
    docker_inspector.post(f"/containers/{container}/stop?t=0")
    services.write(appRef=release)
    result = services.preview()
    assert result.summary() == CONVERGED
    assert (
        f"the container of app ({container}) does not run: `pulumi up --refresh` brings it back"
        in result.diagnostics()
    )
    good_up(services, "--refresh")
    assert services.containers()["app"] == container
    assert_converged(services, docker_inspector, release)


def test_what_was_removed_is_made_again(
    services: DockerStack, docker_inspector: DockerInspector
) -> None:
    """The container, its edge and its image, all at once."""
    release = services.release
    known, (image,) = services.containers(), docker_inspector.images()
    for container in known.values():
        docker_inspector.delete(f"/containers/{container}?force=1")
    docker_inspector.delete(f"/images/{image}")
    services.write(appRef=release)
    result = services.preview()
    for what in ("container", "edge"):
        line = f"the {what} of app is gone: `pulumi up --refresh` brings it back"
        assert line in result.diagnostics()
    good_up(services, "--refresh")
    assert docker_inspector.images() == [image]
    assert not set(known.values()) & set(docker_inspector.containers())
    assert_converged(services, docker_inspector, release)


def test_an_image_that_was_removed_is_loaded_again_without_a_refresh(
    services: DockerStack, docker_inspector: DockerInspector
) -> None:
    """Also where no container keeps it from being removed with the old one's name."""
    release, container, (image,) = (
        services.release,
        services.containers()["app"],
        docker_inspector.images(),
    )
    docker_inspector.delete(f"/images/{image}?force=1")
    assert docker_inspector.images() == []
    services.write(appRef=release)
    result = good_up(services)
    assert result.summary() == {"updated": 1, "unchanged": CONVERGED["unchanged"] - 1}
    assert docker_inspector.images() == [image]
    assert services.containers()["app"] == container
    assert_converged(services, docker_inspector, release)


def test_one_that_was_restarted_by_hand_or_has_crashed_is_no_change(
    services: DockerStack, docker_inspector: DockerInspector
) -> None:
    """Docker starts them again, also the edge: it has been told of a route by a signal."""
    release, containers = services.release, docker_inspector.containers()
    known = services.containers()
    docker_inspector.post(f"/containers/{known['app']}/restart?t=0")
    for container in known.values():
        os.kill(docker_inspector.daemon.container(container)["State"]["Pid"], signal.SIGKILL)
    wait_for(lambda: answers(services, release))
    services.write(appRef=release)
    result = services.up()
    assert (result.code, result.summary()) == (0, CONVERGED), result.text
    assert docker_inspector.containers() == containers
    assert_serves(services, docker_inspector, release)


def answers(stack: DockerStack, release: str) -> bool:
    try:
        return stack.http_get() == f"app {release} on docker"
    except (OSError, http.client.HTTPException):
        return False


def test_traffic_that_cannot_be_moved_leaves_the_old_container_serving(
    services: DockerStack, docker_inspector: DockerInspector
) -> None:
    """The new one is there by then; the next `up` ends with one of them."""
    old, new = services.release, services.other
    edge, container = services.containers()["app-edge"], services.containers()["app"]
    # Paused, it can be told nothing.
    docker_inspector.post(f"/containers/{edge}/pause")
    services.write(appRef=new)
    result = services.up()
    docker_inspector.post(f"/containers/{edge}/unpause")
    assert result.code != 0
    (error,) = result.errors()
    assert error.startswith(f"the edge refused its configuration: {edge}: ")
    assert "is paused" in error
    assert services.http_get() == f"app {old} on docker"
    assert services.traffic() == container
    assert len(docker_inspector.containers()) == 3
    good_up(services)
    assert_serves(services, docker_inspector, new)
