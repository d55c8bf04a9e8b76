"""Candidates of the target Docker, on a real daemon: none is left, however a trial ends."""

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
from components.pipeline.targets.docker import trial
from components.pipeline.targets.docker.daemon import Daemon, steadily
from components.pipeline.targets.docker.trial import MEND, Candidate, Health
from harness.daemons.docker_proxy import DockerProxy
from harness.daemons.dockerd import LABEL
from harness.http_load import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.daemons.dockerd import Dockerd

pytestmark = pytest.mark.contract
OWNER: Final = "flakeup/contract"
SECRET: Final = "hunter2"  # noqa: S105 what must not be seen
STAYS: Final = ("sleep", "1000")


class Place:
    """A daemon behind a proxy, and candidates from the tests' own image."""

    def __init__(self, dockerd: Dockerd, proxy: DockerProxy) -> None:
        self.dockerd, self.proxy = dockerd, proxy
        self.service = dockerd.prefix
        self.said: list[str] = []

    def candidate(self, *command: str, check: tuple[str, ...] = (), **more: Any) -> Candidate:
        health = Health(command=check, interval=0.2) if check else None
        env = {"TOKEN": SECRET}
        given = {"service": self.service, "image": self.dockerd.image, "env": env, **more}
        return Candidate(command=command, health=health, **given)

    async def tried(self, candidate: Candidate, seconds: float = 20.0) -> None:
        async with Daemon(self.proxy.host) as docker:
            await steadily(
                docker,
                lambda: trial.tried(
                    docker, candidate, OWNER, seconds=seconds, say=self.said.append
                ),
            )

    async def message(self, candidate: Candidate, seconds: float = 20.0) -> str:
        with pytest.raises(DockerError) as caught:
            await self.tried(candidate, seconds)
        assert SECRET not in str(caught.value)
        return str(caught.value)

    def left(self) -> list[Any]:
        """All containers of the service, whatever their labels."""
        query = urlencode({"all": "1", "filters": json.dumps({"name": [self.service]})})
        found: list[Any] = self.dockerd.request("GET", f"/containers/json?{query}")
        return found

    async def seen(self) -> list[Any]:
        """The candidate, once it is there."""
        async with asyncio.timeout(20):
            while not (found := self.left()):  # noqa: ASYNC110 the daemon tells nobody
                await asyncio.sleep(0.05)
        return found

    def made(self) -> int:
        return len(self.proxy.seen("^POST /containers/create"))


@pytest.fixture
def place(tmp_path: Path, dockerd: Dockerd) -> Iterator[Place]:
    with DockerProxy(tmp_path / "docker.sock", dockerd.host) as proxy:
        made = Place(dockerd, proxy)
        yield made
    left = made.left()
    for one in left:
        dockerd.request("DELETE", f"/containers/{one['Id']}?force=1")
    assert left == []


async def test_a_candidate_that_becomes_healthy_is_removed(place: Place) -> None:
    await place.tried(place.candidate(*STAYS, check=("true",)))
    assert place.said == ["trying the new image"]
    assert place.made() == 1


async def test_without_a_health_check_it_has_to_run_for_three_seconds(place: Place) -> None:
    began = time.monotonic()
    await place.tried(place.candidate(*STAYS))
    assert 3 <= time.monotonic() - began < 8


async def test_it_runs_as_the_service_will(place: Place) -> None:
    """User, environment, command and a root that is read-only; the network by its name."""
    script = '[ $(stat -c %u /proc/1) = 1000 ] && [ "$TOKEN" = hunter2 ] && ! echo >/x || exit 7'
    await place.tried(
        place.candidate("sh", "-c", f"{script}; exec sleep 1000", user="1000:1000", read_only=True)
    )


async def test_its_secrets_are_there_before_it_starts_and_go_with_it(place: Place) -> None:
    """Also where its root is read-only; and nobody in it can write them."""
    files = {"TOKEN": f"{SECRET}\n", "tls.key": "two\nlines"}
    script = (
        'cd /run/secrets && [ "$(cat TOKEN tls.key)" = "$(printf "hunter2\\ntwo\\nlines")" ] &&'
        ' [ "$(stat -c %a%u%g TOKEN)" = 44400 ] && [ -z "$TOKEN" ] && ! echo >TOKEN || exit 7'
    )
    for user in ("0", "1000:1000"):
        await place.tried(
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
    assert place.left() == []
    assert not [one for one in place.dockerd.request("GET", "/volumes")["Volumes"] if _is_of(one)]


def _is_of(volume: Any) -> bool:
    """Whether a volume has the tests' secrets in it."""
    try:
        return (Path(volume["Mountpoint"]) / "tls.key").exists()
    except OSError:
        return False


async def test_an_unhealthy_one_is_given_up_before_the_time_is_over(place: Place) -> None:
    began = time.monotonic()
    command = ("sh", "-c", "echo a complaint; exec sleep 1000")
    said = await place.message(place.candidate(*command, check=("cat", "/none")), seconds=60)
    assert said == (
        f"not healthy: {place.service}: its health check says: cat: can't open '/none': "
        f"No such file or directory\na complaint\n{MEND}"
    )
    assert time.monotonic() - began < 15


async def test_one_that_ends(place: Place) -> None:
    said = await place.message(place.candidate("sh", "-c", "echo no settings; exit 3"))
    assert said == (f"not healthy: {place.service}: it ended with exit code 3\nno settings\n{MEND}")


async def test_one_that_ends_well_is_no_service(place: Place) -> None:
    said = await place.message(place.candidate("true"))
    assert said == f"not healthy: {place.service}: it ended with exit code 0. {MEND}"


async def test_one_that_is_never_healthy_in_time(place: Place) -> None:
    """Each look takes longer than there is time."""
    said = await place.message(place.candidate(*STAYS, check=("sleep", "60")), seconds=2)
    assert said == (
        f"not healthy: {place.service}: it is not healthy after 2 s: "
        f"its health check says: nothing. {MEND}"
    )


async def test_a_command_that_is_not_there(place: Place) -> None:
    said = await place.message(place.candidate("/none"))
    assert said.startswith(f"Docker refused the container: {place.service}: ")
    assert 'exec: "/none"' in said
    assert said.endswith(f". look at services.{place.service}")
    assert "\n" not in said


async def test_an_image_that_is_not_there(place: Place) -> None:
    said = await place.message(place.candidate(*STAYS, image="flakeup-none:1"))
    assert said == (
        f"Docker refused the container: {place.service}: No such image: flakeup-none:1. "
        "somebody has removed it: run `pulumi up` again, which loads it anew"
    )


async def test_a_user_that_is_none(place: Place) -> None:
    said = await place.message(place.candidate(*STAYS, user="9999999999"))
    assert said.startswith(f"Docker refused the container: {place.service}: ")
    assert said.endswith(f". look at services.{place.service}")


async def test_a_port_that_somebody_else_has(place: Place) -> None:
    """Found out before anything of the service is changed; in Docker, or outside of it."""
    with socket.create_server(("0.0.0.0", 0)) as other:  # noqa: S104 as Docker publishes ports
        port = other.getsockname()[1]
        said = await place.message(place.candidate(*STAYS, ports=(port,)))
    assert said.startswith(f"a port is taken: {place.service}: ")
    assert str(port) in said
    assert said.endswith(f". free it, or write another in services.{place.service}")
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
        said = await place.message(place.candidate(*STAYS, ports=(port,)))
        assert said.startswith(f"a port is taken: {place.service}: ")
        assert said.endswith(f". free it, or write another in services.{place.service}")
    finally:
        place.dockerd.request("DELETE", f"/containers/{made}?force=1")
    await place.tried(place.candidate(*STAYS, check=("true",), ports=(port,)))


async def test_a_port_that_the_stack_has_already_is_no_hindrance(place: Place) -> None:
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
        await place.tried(place.candidate(*STAYS, check=("true",), ports=(port,)))
    finally:
        place.dockerd.request("DELETE", f"/containers/{made}?force=1")


async def test_what_the_daemon_shows_of_it_beside_its_environment(place: Place) -> None:
    """Who may ask the daemon may ask for the environment; it is in nothing else."""
    task = asyncio.create_task(place.tried(place.candidate(*STAYS, check=("true",))))
    found = await place.seen()
    assert SECRET not in json.dumps(found)
    assert not any(SECRET in request for request in place.proxy.seen())
    await task


async def test_the_candidate_of_a_client_that_was_killed_goes_with_the_next_trial(
    place: Place,
) -> None:
    """A service of the same name in another stack, and one that is alike, keep theirs."""
    labels = (f"{OWNER}/{place.service}", f"{OWNER}/{place.service}x", f"other/x/{place.service}")
    left = [
        place.dockerd.request(
            "POST",
            f"/containers/create?name={place.service}-trial-{number}",
            {"Image": place.dockerd.image, "Cmd": STAYS, "Labels": {"flakeup.trial": label}},
        )["Id"]
        for number, label in enumerate(labels)
    ]
    try:
        place.dockerd.request("POST", f"/containers/{left[0]}/start")
        await place.tried(place.candidate(*STAYS, check=("true",)))
        assert sorted(one["Id"] for one in place.left()) == sorted(left[1:])
    finally:
        for identity in left[1:]:
            place.dockerd.request("DELETE", f"/containers/{identity}?force=1")


@pytest.mark.parametrize("seconds", [0.0, 0.02, 0.1, 0.5])
async def test_a_trial_that_is_cancelled_leaves_nothing(place: Place, seconds: float) -> None:
    """Also where its container is just being made."""
    place.proxy.slow("POST /containers/create", 0.1)
    task = asyncio.create_task(place.tried(place.candidate(*STAYS, check=("cat", "/none"))))
    async with asyncio.timeout(20):
        while not place.said:  # noqa: ASYNC110 it is said before anything is made
            await asyncio.sleep(0.001)
    await asyncio.sleep(seconds)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert place.left() == []


@pytest.mark.parametrize(
    ("pattern", "when"),
    [
        ("POST /containers/create", "before"),
        ("POST /containers/create", "after"),
        ("POST /containers/.*/start", "after"),
        ("GET /containers/.*-trial-[0-9a-f]{8}/json", "after"),
        ("DELETE /containers", "before"),
    ],
)
async def test_a_daemon_that_is_restarted_in_a_trial(place: Place, pattern: str, when: str) -> None:
    trouble = place.proxy.away(pattern, when=when, seconds=1)
    await place.tried(place.candidate(*STAYS, check=("true",)))
    assert trouble.met.is_set()


async def test_a_verdict_is_not_asked_for_again(place: Place) -> None:
    await place.message(place.candidate("sh", "-c", "exit 3"))
    assert place.made() == 1
