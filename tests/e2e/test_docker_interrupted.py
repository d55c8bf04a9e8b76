"""An `up` of services that is killed, interrupted or disconnected in each of its steps.

The next one converges, and nothing is left that the state does not know.
"""

from __future__ import annotations

import os
import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import pytest

from tests.e2e.docker_stack import DockerInspector, DockerStack, assert_converged, assert_serves
from tests.e2e.docker_steps import CANDIDATE, CONTAINER, LOAD, STEPS, TRAFFIC, Step
from tests.e2e.stack import TIMEOUT, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.command_result import CommandResult
    from harness.daemons.daemon_proxy import DaemonProxy
    from tests.e2e.stack import Engine

pytestmark = pytest.mark.e2e
AWAY: Final = 5.0
"""Seconds for which the daemon is unavailable."""


@contextmanager
def held(
    stack: DockerStack, inspector: DockerInspector, proxy: DaemonProxy, step: Step, release: str
) -> Iterator[Engine]:
    """An `up` in the middle of a step."""
    stack.write(appRef=release)
    stack.release = ""
    proxy.reset()
    with (
        proxy.hold(step.request) as request,
        stack.running("up", "--yes", "--skip-preview") as engine,
    ):
        request.wait(TIMEOUT)
        # More of them, where those of an `up` before are still there.
        assert len(inspector.containers()) >= step.containers
        assert len(inspector.candidates()) == step.candidates
        yield engine
        # Not forwarded, as its sender has ended.
        proxy.reset()


def next_up(stack: DockerStack, release: str) -> CommandResult:
    """`up`, after `pulumi cancel` if Pulumi asks for it."""
    stack.write(appRef=release)
    result = stack.up()
    if "pulumi cancel" in result.text:
        stack.cancel()
        result = stack.up()
    assert result.code == 0, result.text
    return result


@pytest.mark.parametrize(
    ("steps", "goes_on"),
    [((LOAD, TRAFFIC), True), ((CANDIDATE, CONTAINER), False)],
    ids=["load and traffic, then on", "candidate and container, then back"],
)
def test_killed(
    services: DockerStack,
    docker_inspector: DockerInspector,
    docker_proxy: DaemonProxy,
    steps: tuple[Step, ...],
    *,
    goes_on: bool,
) -> None:
    """KILL the engine and its children, twice; then go on to the release, or back.

    On the way back the program has no change: only a search finds the leftovers.
    """
    old, new = services.release, services.other
    for step in steps:
        with held(services, docker_inspector, docker_proxy, step, new) as engine:
            engine.kill()
        assert services.http_get() == f"app {old} on docker", step.name
        services.cancel()
    wanted = new if goes_on else old
    next_up(services, wanted)
    assert_converged(services, docker_inspector, wanted)


def test_interrupted_in_each_step(
    services: DockerStack, docker_inspector: DockerInspector, docker_proxy: DaemonProxy
) -> None:
    """Ctrl-C, as a terminal sends it; each `up` continues where the previous one stopped."""
    old, new = services.release, services.other
    for step in STEPS:
        with held(services, docker_inspector, docker_proxy, step, new) as engine:
            os.killpg(engine.process.pid, signal.SIGINT)
            result = engine.wait()
        assert result.code != 0
        assert "Traceback" not in result.text, result.text
        assert services.http_get() == f"app {old} on docker", step.name
        assert docker_inspector.candidates() == [], step.name
    next_up(services, new)
    assert_serves(services, docker_inspector, new)


def test_an_unavailable_daemon_in_the_steps_that_are_retried(
    services: DockerStack, docker_inspector: DockerInspector, docker_proxy: DaemonProxy
) -> None:
    """Five seconds in each of them, in one `up`, which succeeds."""
    new = services.other
    services.write(appRef=new)
    docker_proxy.reset()
    troubles = [
        docker_proxy.disconnect(step.request, when="after", seconds=AWAY)
        for step in (LOAD, CANDIDATE, TRAFFIC)
    ]
    result = services.up()
    assert result.code == 0, result.text
    assert all(trouble.triggered.is_set() for trouble in troubles)
    assert result.seconds > 3 * AWAY
    assert_converged(services, docker_inspector, new)


def test_an_unavailable_daemon_while_the_container_is_created(
    services: DockerStack, docker_inspector: DockerInspector, docker_proxy: DaemonProxy
) -> None:
    """That step is the provider's: it fails with one message, and the next `up` continues.

    The daemon has created it; the provider did not get its name.
    """
    old, new = services.release, services.other
    services.write(appRef=new)
    docker_proxy.reset()
    trouble = docker_proxy.disconnect(
        r"^POST /v1\.\d+/containers/create", when="after", seconds=AWAY
    )
    result = services.up()
    assert trouble.triggered.is_set()
    assert result.code != 0
    (error,) = result.errors()
    texts = "Cannot connect to the Docker daemon at", "error during connect"
    assert any(text in error for text in texts), "the first is the stand-in's"
    assert services.http_get() == f"app {old} on docker"
    assert services.traffic() in docker_inspector.containers()
    wait_for(docker_proxy.path.exists)
    next_up(services, new)
    assert_serves(services, docker_inspector, new)
