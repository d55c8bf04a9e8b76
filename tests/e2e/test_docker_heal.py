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
    DockerStack,
    World,
    assert_converged,
    assert_serves,
)
from tests.e2e.stack import wait_for

if TYPE_CHECKING:
    from tests.e2e.said import Said

pytestmark = pytest.mark.e2e


def good_up(stack: DockerStack, *words: str) -> Said:
    said = stack.up(*words)
    assert said.code == 0, said.text
    return said


def test_times_change_nothing_that_runs_and_a_health_check_does(
    services: DockerStack, docker_world: World
) -> None:
    """The provider itself takes another health check alone for no change, and reports success."""
    release, containers = services.release, docker_world.containers()
    old = services.containers()["app"]
    service = services.service(wait="15s", grace="2s")
    services.write(appRef=release, services={"app": service})
    good_up(services)
    assert docker_world.containers() == containers
    assert_serves(services, docker_world, release)

    changed = [*HEALTHCHECK[:-1], "http://127.0.0.1:8080/healthz"]
    services.write(appRef=release, services={"app": services.service(healthcheck=changed)})
    good_up(services)
    assert_serves(services, docker_world, release)
    new = services.containers()["app"]
    assert new != old
    assert docker_world.daemon.container(new)["Config"]["Healthcheck"]["Test"] == ["CMD", *changed]
    services.write(appRef=release)
    good_up(services)
    assert_serves(services, docker_world, release)


def test_a_container_that_was_stopped_is_named_and_started_again(
    services: DockerStack, docker_world: World
) -> None:
    release, container = services.release, services.containers()["app"]
    docker_world.post(f"/containers/{container}/stop?t=0")
    services.write(appRef=release)
    said = services.preview()
    assert said.summary() == CONVERGED
    assert (
        f"the container of app ({container}) does not run: `pulumi up --refresh` brings it back"
        in said.diagnostics()
    )
    good_up(services, "--refresh")
    assert services.containers()["app"] == container
    assert_converged(services, docker_world, release)


def test_what_was_removed_is_made_again(services: DockerStack, docker_world: World) -> None:
    """The container, its edge and its image, all at once."""
    release = services.release
    known, (image,) = services.containers(), docker_world.images()
    for container in known.values():
        docker_world.delete(f"/containers/{container}?force=1")
    docker_world.delete(f"/images/{image}")
    services.write(appRef=release)
    said = services.preview()
    for what in ("container", "edge"):
        line = f"the {what} of app is gone: `pulumi up --refresh` brings it back"
        assert line in said.diagnostics()
    good_up(services, "--refresh")
    assert docker_world.images() == [image]
    assert not set(known.values()) & set(docker_world.containers())
    assert_converged(services, docker_world, release)


def test_an_image_that_was_removed_is_loaded_again_without_a_refresh(
    services: DockerStack, docker_world: World
) -> None:
    """Also where no container keeps it from being removed with the old one's name."""
    release, container, (image,) = (
        services.release,
        services.containers()["app"],
        docker_world.images(),
    )
    docker_world.delete(f"/images/{image}?force=1")
    assert docker_world.images() == []
    services.write(appRef=release)
    said = good_up(services)
    assert said.summary() == {"updated": 1, "unchanged": CONVERGED["unchanged"] - 1}
    assert docker_world.images() == [image]
    assert services.containers()["app"] == container
    assert_converged(services, docker_world, release)


def test_one_that_was_restarted_by_hand_or_has_crashed_is_no_change(
    services: DockerStack, docker_world: World
) -> None:
    """Docker starts them again, also the edge: it has been told of a route by a signal."""
    release, containers = services.release, docker_world.containers()
    known = services.containers()
    docker_world.post(f"/containers/{known['app']}/restart?t=0")
    for container in known.values():
        os.kill(docker_world.daemon.container(container)["State"]["Pid"], signal.SIGKILL)
    wait_for(lambda: answers(services, release))
    services.write(appRef=release)
    said = services.up()
    assert (said.code, said.summary()) == (0, CONVERGED), said.text
    assert docker_world.containers() == containers
    assert_serves(services, docker_world, release)


def answers(stack: DockerStack, release: str) -> bool:
    try:
        return stack.ask() == f"app {release} on docker"
    except (OSError, http.client.HTTPException):
        return False


def test_traffic_that_cannot_be_moved_leaves_the_old_container_serving(
    services: DockerStack, docker_world: World
) -> None:
    """The new one is there by then; the next `up` ends with one of them."""
    old, new = services.release, services.other
    edge, container = services.containers()["app-edge"], services.containers()["app"]
    # Paused, it can be told nothing.
    docker_world.post(f"/containers/{edge}/pause")
    services.write(appRef=new)
    said = services.up()
    docker_world.post(f"/containers/{edge}/unpause")
    assert said.code != 0
    (error,) = said.errors()
    assert error.startswith(f"the edge refused its configuration: {edge}: ")
    assert "is paused" in error
    assert services.ask() == f"app {old} on docker"
    assert services.traffic() == container
    assert len(docker_world.containers()) == 3
    good_up(services)
    assert_serves(services, docker_world, new)
