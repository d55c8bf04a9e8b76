"""What a candidate is in the REST interface, and when a container counts as healthy."""

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

import pytest

from components.pipeline.errors import DockerError
from components.pipeline.targets.docker import candidate
from components.pipeline.targets.docker.candidate import (
    REMEDY,
    Candidate,
    HealthCheck,
    wait_healthy,
)

if TYPE_CHECKING:
    from components.pipeline.targets.docker.daemon import Daemon


def test_a_minimal_candidate() -> None:
    assert Candidate(service="app", image="app-image:0123").payload == {
        "Image": "app-image:0123",
        "Env": [],
        "ExposedPorts": {},
        "HostConfig": {"NetworkMode": "bridge", "ReadonlyRootfs": False, "PortBindings": {}},
    }


def test_a_candidate_with_everything() -> None:
    candidate = Candidate(
        service="app",
        image="app-image:0123",
        command=("/bin/app", "--port", "8080"),
        env={"B": "2", "A": "1"},
        network="services-1",
        user="1000:1000",
        read_only=True,
        health_check=HealthCheck(command=("/bin/check",), interval=1.5),
        ports=(80, 443),
    )
    assert candidate.payload == {
        "Image": "app-image:0123",
        "Cmd": ["/bin/app", "--port", "8080"],
        "Env": ["A=1", "B=2"],
        "User": "1000:1000",
        "ExposedPorts": {"1/tcp": {}},
        "HostConfig": {
            "NetworkMode": "services-1",
            "ReadonlyRootfs": True,
            "PortBindings": {"1/tcp": [{"HostPort": "80"}, {"HostPort": "443"}]},
        },
        "Healthcheck": {
            "Test": ["CMD", "/bin/check"],
            "Interval": 1_500_000_000,
            "Timeout": 5_000_000_000,
            "Retries": 3,
            "StartPeriod": 0,
        },
    }


def test_a_candidate_has_no_volumes() -> None:
    """The container that serves has them."""
    payload = Candidate(service="app", image="app-image:0123").payload
    assert not payload["HostConfig"].keys() & {"Binds", "Mounts"}


def test_its_environment_is_not_in_the_repr() -> None:
    assert "hunter2" not in repr(Candidate(service="a", image="b", env={"TOKEN": "hunter2"}))


# --- health ------------------------------------------------------------------------------------


class FakeDaemon:
    """A daemon that gives one state of a container after another, the last one for ever."""

    def __init__(self, *states: Mapping[str, Any] | None) -> None:
        self._states = list(states)

    async def find(self, path: str) -> Any:
        assert path == "/containers/app-1/json"
        return self._states.pop(0) if len(self._states) > 1 else self._states[0]

    async def logs(self, container: str, lines: int) -> str:
        assert (container, lines) == ("id", 10)
        return "last words"


def state(status: str = "", *, running: bool = True, **fields: Any) -> dict[str, Any]:
    health = {"Health": {"Status": status, "Log": [{"Output": "no answer\n"}]}} if status else {}
    restarts = fields.pop("restarts", 0)
    return {
        "Id": "id",
        "State": {"Running": running, "ExitCode": 3, **health, **fields},
        "RestartCount": restarts,
    }


async def wait(*states: Mapping[str, Any] | None, seconds: float = 0.05) -> None:
    await wait_healthy(cast("Daemon", FakeDaemon(*states)), "app-1", "app", seconds=seconds)


async def failure(*states: Mapping[str, Any] | None) -> str:
    with pytest.raises(DockerError) as caught:
        await wait(*states)
    return str(caught.value)


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(candidate, "POLL_INTERVAL", 0.005)
    monkeypatch.setattr(candidate, "MIN_UPTIME", 0.02)


async def test_healthy_after_some_checks() -> None:
    await wait(state("starting"), state("starting"), state("healthy"))


async def test_unhealthy_before_the_time_is_up() -> None:
    assert await failure(state("starting"), state("unhealthy")) == (
        f"not healthy: app: its health check says: no answer\nlast words\n{REMEDY}"
    )


async def test_not_healthy_in_time() -> None:
    assert await failure(state("starting")) == (
        "not healthy: app: it is not healthy after 0.05 s: "
        f"its health check says: no answer\nlast words\n{REMEDY}"
    )


async def test_exited() -> None:
    wanted = f"not healthy: app: it exited with code 3\nlast words\n{REMEDY}"
    assert await failure(state(running=False)) == wanted
    assert await failure(state("starting", Restarting=True)) == wanted


async def test_removed() -> None:
    assert await failure(None) == f"not healthy: app: container app-1 does not exist. {REMEDY}"


async def test_earlier_restarts_are_no_failure() -> None:
    """A container that restarted weeks ago is healthy today."""
    await wait(state("healthy", restarts=2))
    await wait(state(restarts=2))


async def test_a_restart_while_waiting() -> None:
    assert "exited with code 3" in await failure(state(restarts=2), state(restarts=3))


async def test_without_a_health_check_it_must_run_for_a_while() -> None:
    began = asyncio.get_running_loop().time()
    await wait(state(), seconds=10)
    assert asyncio.get_running_loop().time() - began >= 0.02
