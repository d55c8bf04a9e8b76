"""Services of the `docker` plugin, on a swarm of the tests' own: its daemon has a network apart.

Runs against the project's stand-in, or against the binary that FLAKEUP_DOCKER_PLUGIN names.
"""

from __future__ import annotations

import base64
import contextlib
import json
import time
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

from harness.daemons.docker_fixtures import wait_for
from harness.daemons.dockerd import LABEL, Dockerd, Json, RefusedError
from harness.daemons.swarm import be_swarm, make_images, missing, own_daemon
from harness.providers.docker_driver import Plugin, left
from harness.providers.plugin_driver import FailedError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.providers.docker_driver import Made

pytestmark = pytest.mark.contract
SERVICE = "docker:index/service:Service"
SECRET = "docker:index/secret:Secret"  # noqa: S105 a type
NETWORK = "docker:index/network:Network"


@pytest.fixture(scope="module")
def swarm(docker_host: str) -> Iterator[Dockerd]:
    """A daemon that is a swarm of one node."""
    assert docker_host  # where Docker works, a second daemon does
    if reason := missing():
        pytest.skip(reason)
    with own_daemon("flakeup-service") as daemon:
        be_swarm(daemon)
        make_images(daemon)
        yield daemon


@pytest.fixture(scope="module")
def plugin(swarm: Dockerd) -> Iterator[Plugin]:
    with Plugin.start({"host": swarm.host}) as running:
        yield running


def service(swarm: Dockerd, tag: str = "1", **changes: Json) -> dict[str, Json]:
    """A service of two replicas, which is waited for."""
    container = {
        "image": f"{swarm.prefix}:{tag}",
        "commands": ["sleep", "1000"],
        "stopGracePeriod": "1s",
        **changes.pop("container", {}),
    }
    base = {
        "taskSpec": {"containerSpec": container, **changes.pop("task", {})},
        "mode": {"replicated": {"replicas": 2}},
        "convergeConfig": {"delay": "1s", "timeout": "30s"},
        "updateConfig": {"failureAction": "rollback", "monitor": "2s", "order": "start-first"},
    }
    return {**base, **changes}


@contextlib.contextmanager
def made(plugin: Plugin, inputs: dict[str, Json], name: str) -> Iterator[Made]:
    resource = plugin.make(SERVICE, inputs, name=name)
    try:
        yield resource
    finally:
        plugin.remove(resource)


def _running(swarm: Dockerd, image: str) -> int:
    found = swarm.ask("GET", "/containers/json")
    return sum(each["Image"] == image for each in found)


def test_a_service_runs_and_is_rolled_out(plugin: Plugin, swarm: Dockerd) -> None:
    inputs = service(swarm, container={"env": {"A": "b"}, "user": "0"}, labels=[swarm.label])
    with made(plugin, inputs, "app") as app:
        assert app.state["name"].startswith("app-")
        assert _running(swarm, f"{swarm.prefix}:1") == 2
        told = swarm.ask("GET", f"/services/{app.id}")["Spec"]
        assert told["TaskTemplate"]["ContainerSpec"]["Env"] == ["A=b"]
        assert told["UpdateConfig"]["FailureAction"] == "rollback"
        # A second look changes nothing.
        assert plugin.changes(app, inputs).kinds == {}
        again = plugin.refreshed(app)
        assert again is not None
        assert again.state == app.state
        assert plugin.changes(again, inputs).kinds == {}
        # Another image is rolled out in place, and so is another number of replicas.
        new = service(swarm, "2", container={"env": {"A": "b"}, "user": "0"}, labels=[swarm.label])
        changes = plugin.changes(app, new)
        assert changes.kinds == {"taskSpec.containerSpec.image": "UPDATE"}
        more = {**new, "mode": {"replicated": {"replicas": 3}}}
        assert plugin.changes(app, more).kinds["mode.replicated.replicas"] == "UPDATE"
        after = plugin.changed(app, new)
        assert _running(swarm, f"{swarm.prefix}:2") == 2
        assert plugin.changes(after, new).kinds == {}
    wait_for(lambda: _running(swarm, f"{swarm.prefix}:2") == 0)
    assert plugin.refreshed(after) is None
    plugin.remove(after)


def test_a_bad_rollout_is_rolled_back_and_red(plugin: Plugin, swarm: Dockerd) -> None:
    with made(plugin, service(swarm), "back") as it:
        bad = service(swarm, "2", container={"commands": ["sh", "-c", "exit 3"]})
        with pytest.raises(FailedError) as caught:
            plugin.changed(it, bad)
        assert "service rollback completed: " in str(caught.value)
        told = swarm.ask("GET", f"/services/{it.id}")["Spec"]
        assert told["TaskTemplate"]["ContainerSpec"]["Image"] == f"{swarm.prefix}:1"
        # The state has what was wanted: only a refresh finds the rollback out.
        after = left(caught.value, SERVICE)
        assert plugin.changes(after, bad).kinds == {}
        seen = plugin.refreshed(after)
        assert seen is not None
        assert "taskSpec.containerSpec.image" in plugin.changes(seen, bad).kinds


def test_a_service_that_does_not_converge_is_removed(plugin: Plugin, swarm: Dockerd) -> None:
    inputs = service(
        swarm,
        name="sick",
        container={"healthcheck": {"tests": ["CMD", "cat", "/none"], "interval": "1s"}},
        convergeConfig={"delay": "1s", "timeout": "3s"},
    )
    with pytest.raises(FailedError) as caught:
        plugin.make(SERVICE, inputs, name="it")
    assert "did not converge after 3s" in str(caught.value)
    assert caught.value.left is None
    with pytest.raises(RefusedError):
        swarm.ask("GET", "/services/sick")


def test_secrets_are_made_anew_and_given_to_services(plugin: Plugin, swarm: Dockerd) -> None:
    """None can be changed, and none is told again: what is in the state is what was given."""
    given = {"data": base64.b64encode(b"hunter2\n").decode(), "labels": [swarm.label]}
    one = plugin.make(SECRET, given, name="token")
    assert one.inputs["name"].startswith("token-")
    told = swarm.ask("GET", f"/secrets/{one.id}")["Spec"]
    assert told["Labels"] == {LABEL: swarm.prefix}
    assert plugin.changes(one, given).kinds == {}
    again = plugin.refreshed(one)
    assert again is not None
    assert plugin.changes(again, given).kinds == {}
    other = {**given, "data": base64.b64encode(b"hunter3").decode()}
    assert plugin.changes(one, other).replaces
    _, failures = plugin.proposed(SECRET, {"data": "no base64!"}, name="it")
    assert len(failures) == 1

    file = {"secretId": one.id, "secretName": one.inputs["name"], "fileName": "TOKEN"}
    inputs = service(swarm, container={"secrets": [file]}, mode={"replicated": {"replicas": 1}})
    with made(plugin, inputs, "secretive") as it:
        assert plugin.changes(it, inputs).kinds == {}
        seen = plugin.refreshed(it)
        assert seen is not None
        assert plugin.changes(seen, inputs).kinds == {}
        filters = quote(json.dumps({"label": [f"com.docker.swarm.service.id={it.id}"]}))
        (task,) = swarm.ask("GET", f"/containers/json?filters={filters}")
        script = "stat -c %a /run/secrets/TOKEN; cat /run/secrets/TOKEN"
        assert swarm.run(task["Id"], "sh", "-c", script).split() == ["444", "hunter2"]
        with pytest.raises(FailedError) as caught:
            plugin.remove(one)
        assert "is in use by the following service" in str(caught.value)
    plugin.remove(one)
    assert plugin.refreshed(one) is None


def test_without_a_wait_it_is_made_at_once(plugin: Plugin, swarm: Dockerd) -> None:
    network = plugin.make(NETWORK, {"driver": "overlay"}, name="overlay")
    task = {
        "networksAdvanceds": [{"id": network.id, "aliases": ["app"]}],
        "resources": {"limits": {"memoryBytes": 64 << 20}},
        "restartPolicy": {"condition": "on-failure", "delay": "1m", "maxAttempts": 3},
        "placement": {"constraints": ["node.role==manager"]},
    }
    inputs = service(swarm, task=task)
    del inputs["convergeConfig"], inputs["mode"]
    started = time.monotonic()
    with made(plugin, inputs, "quick") as it:
        assert time.monotonic() - started < 5
        assert it.state["mode"]["replicated"]["replicas"] == 1
        assert plugin.changes(it, inputs).kinds == {}
        found = plugin.imported(SERVICE, it.id)
        assert found is not None
        assert found.inputs["taskSpec"]["restartPolicy"]["delay"] == "1m"
    plugin.remove(network)
