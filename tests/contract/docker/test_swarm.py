"""What the target knows of a swarm: on a daemon of the test's own, before it is one and after."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

import pytest

from components.pipeline.config.services import Services, ServiceSpec, Strategy
from components.pipeline.errors import DockerError
from components.pipeline.targets.docker import ownership, preflight, swarm
from components.pipeline.targets.docker.daemon import HERE, Daemon
from components.pipeline.targets.docker.trial import Candidate, tried
from components.pipeline.values import Attr
from harness.daemons.docker_fixtures import wait_for
from harness.daemons.swarm import be_swarm, make_images, missing, own_daemon
from harness.providers.docker_driver import Made, Plugin
from harness.providers.plugin_driver import PROJECT, FailedError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.daemons.dockerd import Dockerd, Json

pytestmark = pytest.mark.contract
PLUGIN: Final = PROJECT / "providers" / "flakeup" / "pulumi-resource-flakeup"
TASKS: Final = "flakeup:docker:Tasks"
TRIAL: Final = "flakeup:docker:Trial"
OWNER: Final = "project/dev"
"""Of the URNs that the driver makes."""
LABELS: Final = {"flakeup.owner": OWNER, "flakeup.service": "app"}
BACK: Final = "its update was rolled back: "
HEALS: Final = "`pulumi up --refresh` brings it back"


@pytest.fixture(scope="module")
def place(docker_host: str) -> Iterator[Dockerd]:
    """A daemon that is no swarm at first."""
    assert docker_host  # where Docker works, a second daemon does
    if reason := missing():
        pytest.skip(reason)
    with own_daemon("flakeup-target") as daemon:
        make_images(daemon)
        yield daemon


def service(daemon: Dockerd, name: str, tag: str = "1", **changes: Json) -> Json:
    """A service of two tasks, replaced at once, as the interface has it."""
    image = f"{daemon.prefix}:{tag}"
    container = {"Image": image, "Command": ["sleep", "1000"], "StopGracePeriod": 10**8}
    return {
        "Name": name,
        "Labels": LABELS,
        "TaskTemplate": {"ContainerSpec": {**container, **changes.pop("container", {})}},
        "Mode": {"Replicated": {"Replicas": 2}},
        "UpdateConfig": {"FailureAction": "rollback", "Monitor": 10**9, "Parallelism": 0},
        **changes,
    }


def listed(daemon: Dockerd, path: str) -> list[Any]:
    query = urlencode({"filters": json.dumps({"label": [f"flakeup.owner={OWNER}"]})})
    found: list[Any] = daemon.ask("GET", f"{path}?{query}")
    return found


def images(daemon: Dockerd, identity: str) -> list[str]:
    """What the tasks of a service run."""
    label = f"com.docker.swarm.service.id={identity}"
    query = urlencode({"filters": json.dumps({"label": [label]})})
    return [one["Image"] for one in daemon.ask("GET", f"/containers/json?{query}")]


def state(daemon: Dockerd, identity: str) -> str:
    told = daemon.ask("GET", f"/services/{identity}").get("UpdateStatus") or {}
    return str(told.get("State", ""))


def update(daemon: Dockerd, identity: str, wanted: Json) -> None:
    version = daemon.ask("GET", f"/services/{identity}")["Version"]["Index"]
    daemon.ask("POST", f"/services/{identity}/update?version={version}", wanted)


def services(host: str, *names: str) -> Services:
    wanted = (
        ServiceSpec(name=name, image=Attr("image"), strategy=Strategy.SWARM) for name in names
    )
    return Services(host=host, specs=tuple(wanted))


async def test_a_daemon_that_is_no_swarm(place: Dockerd) -> None:
    """Refused where a service needs one; elsewhere it has nothing of a swarm, and that is all."""
    await preflight.checked(services(place.host), HERE)
    await preflight.checked(services("unix:///nowhere/docker.sock", "app"), HERE)
    with pytest.raises(DockerError) as caught:
        await preflight.checked(services(place.host, "app", "web"), HERE)
    assert str(caught.value) == (
        f"no swarm: {place.host}: services.app has strategy: swarm, and this daemon manages none. "
        "run `docker swarm init` there, or let docker.host be a manager"
    )
    async with Daemon(place.host) as docker:
        assert await swarm.services(docker, LABELS) == []
        assert await swarm.ports(docker, LABELS) == frozenset()
        await swarm.end(docker, LABELS)
        await swarm.end_secrets(docker, LABELS)
    be_swarm(place)
    await preflight.checked(services(place.host, "app"), HERE)


async def test_what_is_left_of_a_service_goes_with_its_trial(place: Dockerd) -> None:
    """The network that it is in stays as long as somebody is."""
    made = place.ask(
        "POST", "/networks/create", {"Name": "n", "Driver": "overlay", "Labels": LABELS}
    )
    ports = {"Ports": [{"PublishedPort": 18080, "TargetPort": 80, "PublishMode": "ingress"}]}
    wanted = service(place, "left", EndpointSpec=ports)
    wanted["TaskTemplate"]["Networks"] = [{"Target": made["Id"]}]
    place.ask("POST", "/services/create", wanted)
    place.ask("POST", "/services/create", {**service(place, "users"), "Labels": {}})
    place.ask("POST", "/secrets/create", {"Name": "s", "Data": "aGk=", "Labels": LABELS})
    async with Daemon(place.host) as docker:
        assert await swarm.ports(docker, {"flakeup.owner": OWNER}) == {18080}
        await ownership.remove_networks(docker, LABELS)
        assert len(listed(place, "/networks")) == 1
        # A port that the stack's service has is no hindrance for its candidate.
        candidate = Candidate(
            service="app",
            image=place.image,
            command=("sleep", "100"),
            ports=(18080,),
            of_swarm=True,
        )
        await tried(docker, candidate, OWNER, seconds=20, say=print)
        # For one that is none of a swarm it is, until the service has let it go.
        with pytest.raises(DockerError) as caught:
            await tried(docker, replace(candidate, of_swarm=False), OWNER, seconds=20, say=print)
        assert str(caught.value) == (
            "a port is taken: app: a service of the swarm has 18080. "
            "free it, or write another in services.app"
        )
    inputs: Json = {"host": place.host, "service": "app", "swarm": True}
    with Plugin.run(PLUGIN) as plugin:
        plugin.remove(Made(kind=TRIAL, id="it", inputs=inputs, state=inputs))
    assert listed(place, "/services") == listed(place, "/secrets") == []
    assert [one["Spec"]["Name"] for one in place.ask("GET", "/services")] == ["users"]
    async with Daemon(place.host) as docker:
        await ownership.remove_networks(docker, LABELS)
    assert listed(place, "/networks") == []
    place.ask("DELETE", "/services/users")


def test_the_life_of_tasks(place: Dockerd) -> None:
    """A swarm that has gone back is no success, whoever sent it back."""
    identity = place.ask("POST", "/services/create", service(place, "app"))["ID"]
    inputs: Json = {
        "host": place.host,
        "service": "app",
        "swarmService": identity,
        "image": place.image,
        "replicas": 2,
        "wait": 20.0,
    }
    new = {**inputs, "image": f"{place.prefix}:2"}
    with Plugin.run(PLUGIN) as plugin:
        it = plugin.make(TASKS, inputs, name="it")
        assert images(place, identity) == [place.image] * 2
        assert plugin.changes(it, inputs).kinds == {}
        assert plugin.changes(it, {**inputs, "wait": 99.0}).kinds == {}
        assert plugin.changes(it, new).kinds == {"image": "UPDATE"}
        update(place, identity, service(place, "app", "2"))
        after = plugin.changed(it, new)
        assert images(place, identity) == [f"{place.prefix}:2"] * 2

        # The update fails, and the swarm goes back: the image is the one that is wanted.
        bad = service(place, "app", "2", container={"Command": ["sh", "-c", "exit 3"]})
        update(place, identity, bad)
        wait_for(lambda: state(place, identity) == "rollback_completed", 30)
        assert plugin.changes(after, new).kinds == {"swarmService": "UPDATE"}
        with pytest.raises(FailedError) as caught:
            plugin.changed(after, new)
        assert str(caught.value).startswith(f"not serving: app: {BACK}")
        assert str(caught.value).endswith(swarm.AGAIN)

        # Somebody has it run another image; more than can be; and then nothing at all.
        update(place, identity, service(place, "app"))
        wait_for(lambda: state(place, identity) == "completed", 30)
        assert plugin.changes(after, new).kinds == {"swarmService": "UPDATE"}
        place.ask("DELETE", f"/services/{identity}")
        assert plugin.changes(after, new).kinds == {"swarmService": "UPDATE"}
        told = [one.text for one in plugin.engine.messages if one.severity == "WARNING"]
        assert told[0].startswith(f"the service app: {BACK}")
        assert told[1:] == [
            f"the service app: it is of the image {place.image}: {HEALS}",
            f"the service app: it is gone: {HEALS}",
        ]
        plugin.remove(after)


def test_tasks_that_do_not_run_in_time_are_one_message(place: Dockerd) -> None:
    wanted = service(place, "sick", container={"Command": ["sh", "-c", "exit 3"]})
    identity = place.ask("POST", "/services/create", wanted)["ID"]
    inputs: Json = {
        "host": place.host,
        "service": "app",
        "swarmService": identity,
        "image": place.image,
        "replicas": 2,
        "wait": 4.0,
    }
    with Plugin.run(PLUGIN) as plugin, pytest.raises(FailedError) as caught:
        plugin.make(TASKS, inputs, name="it")
    place.ask("DELETE", f"/services/{identity}")
    assert "of 2 tasks run after 4 s: task: non-zero exit (3)" in str(caught.value)
