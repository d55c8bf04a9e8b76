"""Candidates on a real daemon: none is left, whatever happens."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

import pytest

from components.pipeline.errors import DockerError
from components.pipeline.targets.docker.candidate import (
    REMEDY,
    Candidate,
    HealthCheck,
    run_candidate,
)
from components.pipeline.targets.docker.daemon import Daemon, retry_through_restart
from harness.daemons.daemon_proxy import DaemonProxy
from harness.daemons.dockerd import LABEL
from harness.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.daemons.dockerd import Dockerd

pytestmark = pytest.mark.contract
OWNER: Final = "flakeup/contract"
SECRET: Final = "hunter2"  # noqa: S105 what must not be seen
STAYS: Final = ("sleep", "1000")


class Place:
    """A daemon behind a proxy, and candidates from the tests' own image."""

    def __init__(self, dockerd: Dockerd, proxy: DaemonProxy) -> None:
        self.dockerd, self.proxy = dockerd, proxy
        self.service = dockerd.prefix
        self.reports: list[str] = []

    def candidate(self, *command: str, check: tuple[str, ...] = (), **more: Any) -> Candidate:
        health = HealthCheck(command=check, interval=0.2) if check else None
        env = {"TOKEN": SECRET}
        given = {"service": self.service, "image": self.dockerd.image, "env": env, **more}
        return Candidate(command=command, health_check=health, **given)

    async def run(self, candidate: Candidate, seconds: float = 20.0) -> None:
        async with Daemon(self.proxy.host) as docker:
            await retry_through_restart(
                docker,
                lambda: run_candidate(
                    docker, candidate, OWNER, seconds=seconds, report=self.reports.append
                ),
            )

    async def message(self, candidate: Candidate, seconds: float = 20.0) -> str:
        with pytest.raises(DockerError) as caught:
            await self.run(candidate, seconds)
        assert SECRET not in str(caught.value)
        return str(caught.value)

    def containers(self) -> list[Any]:
        """All containers of the service, whatever their labels."""
        query = urlencode({"all": "1", "filters": json.dumps({"name": [self.service]})})
        found: list[Any] = self.dockerd.request("GET", f"/containers/json?{query}")
        return found

    async def wait_for_container(self) -> list[Any]:
        """The candidate, once it exists."""
        async with asyncio.timeout(20):
            while not (found := self.containers()):  # noqa: ASYNC110 the daemon has no event for it
                await asyncio.sleep(0.05)
        return found

    def creations(self) -> int:
        return len(self.proxy.requests("^POST /containers/create"))


@pytest.fixture
def place(tmp_path: Path, dockerd: Dockerd) -> Iterator[Place]:
    with DaemonProxy(tmp_path / "docker.sock", dockerd.socket) as proxy:
        made = Place(dockerd, proxy)
        yield made
    left = made.containers()
    for one in left:
        dockerd.request("DELETE", f"/containers/{one['Id']}?force=1")
    assert left == []


async def test_a_candidate_that_becomes_healthy_is_removed(place: Place) -> None:
    await place.run(place.candidate(*STAYS, check=("true",)))
    assert place.reports == ["testing the new image"]
    assert place.creations() == 1


async def test_without_a_health_check_it_must_run_for_three_seconds(place: Place) -> None:
    began = time.monotonic()
    await place.run(place.candidate(*STAYS))
    assert 3 <= time.monotonic() - began < 18


async def test_it_runs_as_the_service_will(place: Place) -> None:
    """User, environment, command, a read-only root, and the network by name."""
    script = '[ $(stat -c %u /proc/1) = 1000 ] && [ "$TOKEN" = hunter2 ] && ! echo >/x || exit 7'
    await place.run(
        place.candidate("sh", "-c", f"{script}; exec sleep 1000", user="1000:1000", read_only=True)
    )


async def test_its_secrets_exist_before_it_starts_and_are_removed_with_it(place: Place) -> None:
    """With a read-only root too; nobody in it can write them."""
    files = {"TOKEN": f"{SECRET}\n", "tls.key": "two\nlines"}
    script = (
        'cd /run/secrets && [ "$(cat TOKEN tls.key)" = "$(printf "hunter2\\ntwo\\nlines")" ] &&'
        ' [ "$(stat -c %a%u%g TOKEN)" = 44400 ] && [ -z "$TOKEN" ] && ! echo >TOKEN || exit 7'
    )
    for user in ("0", "1000:1000"):
        await place.run(
            place.candidate(
                "sh",
                "-c",
                f"{script}; exec sleep 1000",
                check=("true",),
                env={},
                secrets=files,
                user=user,
                read_only=True,
            )
        )
    assert place.containers() == []
    assert not [
        one for one in place.dockerd.request("GET", "/volumes")["Volumes"] if _has_secrets(one)
    ]


def _has_secrets(volume: Any) -> bool:
    """Whether a volume has the tests' secrets in it."""
    try:
        return (Path(volume["Mountpoint"]) / "tls.key").exists()
    except OSError:
        return False


async def test_an_unhealthy_candidate_fails_before_the_time_is_up(place: Place) -> None:
    began = time.monotonic()
    command = ("sh", "-c", "echo a complaint; exec sleep 1000")
    text = await place.message(place.candidate(*command, check=("cat", "/none")), seconds=60)
    assert text == (
        f"not healthy: {place.service}: its health check says: cat: can't open '/none': "
        f"No such file or directory\na complaint\n{REMEDY}"
    )
    assert time.monotonic() - began < 15


async def test_a_candidate_that_exits(place: Place) -> None:
    text = await place.message(place.candidate("sh", "-c", "echo no settings; exit 3"))
    assert text == (f"not healthy: {place.service}: it exited with code 3\nno settings\n{REMEDY}")


async def test_a_candidate_that_exits_successfully(place: Place) -> None:
    text = await place.message(place.candidate("true"))
    assert text == f"not healthy: {place.service}: it exited with code 0. {REMEDY}"


async def test_a_candidate_that_is_not_healthy_in_time(place: Place) -> None:
    """Its check takes longer than the time it has."""
    text = await place.message(place.candidate(*STAYS, check=("sleep", "60")), seconds=2)
    assert text == (
        f"not healthy: {place.service}: it is not healthy after 2 s: "
        f"its health check says: nothing. {REMEDY}"
    )


async def test_a_missing_command(place: Place) -> None:
    text = await place.message(place.candidate("/none"))
    assert text.startswith(f"Docker refused the container: {place.service}: ")
    assert 'exec: "/none"' in text
    assert text.endswith(f". check services.{place.service}")
    assert "\n" not in text


async def test_a_missing_image(place: Place) -> None:
    text = await place.message(place.candidate(*STAYS, image="flakeup-none:1"))
    assert text == (
        f"Docker refused the container: {place.service}: No such image: flakeup-none:1. "
        "the image was removed: run `pulumi up` again, which loads it"
    )


async def test_an_invalid_user(place: Place) -> None:
    text = await place.message(place.candidate(*STAYS, user="9999999999"))
    assert text.startswith(f"Docker refused the container: {place.service}: ")
    assert text.endswith(f". check services.{place.service}")


async def test_a_port_in_use(place: Place) -> None:
    """By another container, or outside Docker: found before anything of the service changes."""
    with socket.create_server(("0.0.0.0", 0)) as other:  # noqa: S104 as Docker publishes ports
        port = other.getsockname()[1]
        text = await place.message(place.candidate(*STAYS, ports=(port,)))
    assert text.startswith(f"port already in use: {place.service}: ")
    assert str(port) in text
    assert text.endswith(f". free it, or use another port in services.{place.service}")
    body = {
        "Image": place.dockerd.image,
        "Cmd": STAYS,
        "Labels": {LABEL: place.dockerd.prefix},
        "ExposedPorts": {"80/tcp": {}},
        "HostConfig": {"PortBindings": {"80/tcp": [{"HostPort": str(port)}]}},
    }
    made = place.dockerd.request("POST", "/containers/create", body)["Id"]
    place.dockerd.request("POST", f"/containers/{made}/start")
    try:
        text = await place.message(place.candidate(*STAYS, ports=(port,)))
        assert text.startswith(f"port already in use: {place.service}: ")
        assert text.endswith(f". free it, or use another port in services.{place.service}")
    finally:
        place.dockerd.request("DELETE", f"/containers/{made}?force=1")
    await place.run(place.candidate(*STAYS, check=("true",), ports=(port,)))


async def test_a_port_that_the_stack_itself_publishes(place: Place) -> None:
    port = free_port()
    body = {
        "Image": place.dockerd.image,
        "Cmd": STAYS,
        "Labels": {"flakeup.owner": OWNER},
        "ExposedPorts": {"80/tcp": {}},
        "HostConfig": {"PortBindings": {"80/tcp": [{"HostPort": str(port)}]}},
    }
    made = place.dockerd.request("POST", "/containers/create", body)["Id"]
    place.dockerd.request("POST", f"/containers/{made}/start")
    try:
        await place.run(place.candidate(*STAYS, check=("true",), ports=(port,)))
    finally:
        place.dockerd.request("DELETE", f"/containers/{made}?force=1")


async def test_the_environment_is_shown_nowhere_else(place: Place) -> None:
    """Whoever may use the daemon can inspect the environment; it is in nothing else."""
    task = asyncio.create_task(place.run(place.candidate(*STAYS, check=("true",))))
    found = await place.wait_for_container()
    assert SECRET not in json.dumps(found)
    assert not any(SECRET in request for request in place.proxy.requests())
    await task


async def test_the_next_candidate_removes_those_of_an_interrupted_up(
    place: Place,
) -> None:
    """A service of that name in another stack, and one with a similar name, keep theirs."""
    labels = (f"{OWNER}/{place.service}", f"{OWNER}/{place.service}x", f"other/x/{place.service}")
    left = [
        place.dockerd.request(
            "POST",
            f"/containers/create?name={place.service}-candidate-{number}",
            {"Image": place.dockerd.image, "Cmd": STAYS, "Labels": {"flakeup.candidate": label}},
        )["Id"]
        for number, label in enumerate(labels)
    ]
    try:
        place.dockerd.request("POST", f"/containers/{left[0]}/start")
        await place.run(place.candidate(*STAYS, check=("true",)))
        assert sorted(one["Id"] for one in place.containers()) == sorted(left[1:])
    finally:
        for identity in left[1:]:
            place.dockerd.request("DELETE", f"/containers/{identity}?force=1")


@pytest.mark.parametrize("seconds", [0.0, 0.02, 0.1, 0.5])
async def test_a_cancelled_candidate_is_removed(place: Place, seconds: float) -> None:
    """Even if its container is just being created."""
    place.proxy.delay("POST /containers/create", 0.1)
    task = asyncio.create_task(place.run(place.candidate(*STAYS, check=("cat", "/none"))))
    async with asyncio.timeout(20):
        while not place.reports:  # noqa: ASYNC110 it is reported before anything is created
            await asyncio.sleep(0.001)
    await asyncio.sleep(seconds)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert place.containers() == []


@pytest.mark.parametrize(
    ("pattern", "when"),
    [
        ("POST /containers/create", "before"),
        ("POST /containers/create", "after"),
        ("POST /containers/.*/start", "after"),
        ("GET /containers/.*-candidate-[0-9a-f]{8}/json", "after"),
        ("DELETE /containers", "before"),
    ],
)
async def test_a_daemon_that_restarts_meanwhile(place: Place, pattern: str, when: str) -> None:
    trouble = place.proxy.disconnect(pattern, when=when, seconds=1)
    await place.run(place.candidate(*STAYS, check=("true",)))
    assert trouble.triggered.is_set()


async def test_a_failure_is_not_retried(place: Place) -> None:
    await place.message(place.candidate("sh", "-c", "exit 3"))
    assert place.creations() == 1
