"""What a candidate is to the daemon, and when it counts as healthy."""

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

import pytest

from components.pipeline.errors import DockerError
from components.pipeline.targets.docker import trial
from components.pipeline.targets.docker.trial import MEND, Candidate, Health, healthy

if TYPE_CHECKING:
    from components.pipeline.targets.docker.daemon import Daemon


def test_the_least_candidate() -> None:
    assert Candidate(service="app", image="app-image:0123").body == {
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
        health=Health(command=("/bin/check",), interval=1.5),
        ports=(80, 443),
    )
    assert candidate.body == {
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
    """It stands beside the container that has them."""
    body = Candidate(service="app", image="app-image:0123").body
    assert not body["HostConfig"].keys() & {"Binds", "Mounts"}


def test_its_environment_is_not_in_the_repr() -> None:
    assert "hunter2" not in repr(Candidate(service="a", image="b", env={"TOKEN": "hunter2"}))


# --- health ------------------------------------------------------------------------------------


class Told:
    """A daemon that says one thing after another of a container, the last one for ever."""

    def __init__(self, *looks: Mapping[str, Any] | None) -> None:
        self._looks = list(looks)

    async def find(self, path: str) -> Any:
        assert path == "/containers/app-1/json"
        return self._looks.pop(0) if len(self._looks) > 1 else self._looks[0]

    async def logs(self, container: str, lines: int) -> str:
        assert (container, lines) == ("id", 10)
        return "last words"


def look(status: str = "", *, running: bool = True, **state: Any) -> dict[str, Any]:
    health = {"Health": {"Status": status, "Log": [{"Output": "no answer\n"}]}} if status else {}
    restarts = state.pop("restarts", 0)
    return {
        "Id": "id",
        "State": {"Running": running, "ExitCode": 3, **health, **state},
        "RestartCount": restarts,
    }


async def wait(*looks: Mapping[str, Any] | None, seconds: float = 0.05) -> None:
    await healthy(cast("Daemon", Told(*looks)), "app-1", "app", seconds=seconds)


async def verdict(*looks: Mapping[str, Any] | None) -> str:
    with pytest.raises(DockerError) as caught:
        await wait(*looks)
    return str(caught.value)


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "PAUSE", 0.005)
    monkeypatch.setattr(trial, "STEADY", 0.02)


async def test_healthy_at_last() -> None:
    await wait(look("starting"), look("starting"), look("healthy"))


async def test_unhealthy_is_a_verdict_before_the_time_is_up() -> None:
    assert await verdict(look("starting"), look("unhealthy")) == (
        f"not healthy: app: its health check says: no answer\nlast words\n{MEND}"
    )


async def test_not_healthy_in_time() -> None:
    assert await verdict(look("starting")) == (
        "not healthy: app: it is not healthy after 0.05 s: "
        f"its health check says: no answer\nlast words\n{MEND}"
    )


async def test_ended() -> None:
    wanted = f"not healthy: app: it ended with exit code 3\nlast words\n{MEND}"
    assert await verdict(look(running=False)) == wanted
    assert await verdict(look("starting", Restarting=True)) == wanted


async def test_gone() -> None:
    assert await verdict(None) == f"not healthy: app: there is no container app-1. {MEND}"


async def test_restarts_of_long_ago_say_nothing() -> None:
    """A container that was started again weeks ago is well today."""
    await wait(look("healthy", restarts=2))
    await wait(look(restarts=2))


async def test_a_restart_while_it_is_looked_at_is_a_verdict() -> None:
    assert "ended with exit code 3" in await verdict(look(restarts=2), look(restarts=3))


async def test_without_a_health_check_it_has_to_run_for_a_while() -> None:
    began = asyncio.get_running_loop().time()
    await wait(look(), seconds=10)
    assert asyncio.get_running_loop().time() - began >= 0.02
