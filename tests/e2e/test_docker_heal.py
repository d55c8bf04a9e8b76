"""Changes by hand to a service, and traps of the provider: `up` repairs it."""

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


def test_timeouts_keep_the_container_and_a_health_check_replaces_it(
    services: DockerStack, docker_inspector: DockerInspector
) -> None:
    """The provider itself ignores a new health check, and reports success."""
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


def test_a_stopped_container_is_reported_and_restored(
    services: DockerStack, docker_inspector: DockerInspector
) -> None:
    release, container = services.release, services.containers()["app"]
    docker_inspector.post(f"/containers/{container}/stop?t=0")
    services.write(appRef=release)
    result = services.preview()
    assert result.summary() == CONVERGED
    assert (
        f"the container of app ({container}) is not running: `pulumi up --refresh` restores it"
        in result.diagnostics()
    )
    good_up(services, "--refresh")
    assert services.containers()["app"] == container
    assert_converged(services, docker_inspector, release)


def test_removed_parts_are_recreated(
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
        line = f"the {what} of app does not exist: `pulumi up --refresh` restores it"
        assert line in result.diagnostics()
    good_up(services, "--refresh")
    assert docker_inspector.images() == [image]
    assert not set(known.values()) & set(docker_inspector.containers())
    assert_converged(services, docker_inspector, release)


def test_a_removed_image_is_loaded_again_without_a_refresh(
    services: DockerStack, docker_inspector: DockerInspector
) -> None:
    """Even if no container kept it from being removed."""
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


def test_a_restart_by_hand_or_after_a_crash_is_no_change(
    services: DockerStack, docker_inspector: DockerInspector
) -> None:
    """Docker restarts them, even the edge, which has got its route by a signal."""
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


def test_a_failed_switch_leaves_the_old_container_serving(
    services: DockerStack, docker_inspector: DockerInspector
) -> None:
    """The new one exists by then; after the next `up` there is one of them."""
    old, new = services.release, services.other
    edge, container = services.containers()["app-edge"], services.containers()["app"]
    # A paused edge gets no route.
    docker_inspector.post(f"/containers/{edge}/pause")
    services.write(appRef=new)
    result = services.up()
    docker_inspector.post(f"/containers/{edge}/unpause")
    assert result.code != 0
    (error,) = result.errors()
    assert error.startswith(f"the edge rejected its configuration: {edge}: ")
    assert "is paused" in error
    assert services.http_get() == f"app {old} on docker"
    assert services.traffic() == container
    assert len(docker_inspector.containers()) == 3
    good_up(services)
    assert_serves(services, docker_inspector, new)
