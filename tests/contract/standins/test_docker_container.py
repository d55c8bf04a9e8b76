"""Containers of the `docker` plugin on a real daemon: life cycle and failures.

Runs against the stand-in, or against the binary that FLAKEUP_DOCKER_PLUGIN names.
"""

from __future__ import annotations

import base64
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from harness.daemons.docker_fixtures import HEALTHY, SICK, made, named, sleeper, wait_for
from harness.ports import free_port
from harness.providers.docker_driver import CONTAINER, Plugin, partial_state
from harness.providers.plugin_driver import PluginError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from harness.daemons.dockerd import Dockerd

pytestmark = pytest.mark.contract


@pytest.fixture(scope="module")
def plugin(docker_host: str) -> Iterator[Plugin]:
    with Plugin.start({"host": docker_host}) as running:
        yield running


# The life of a container.


def test_a_state_says_that_nothing_is_given(plugin: Plugin, dockerd: Dockerd) -> None:
    """Else the other plugin would replace a container that this one created."""
    inputs = sleeper(dockerd)
    with made(plugin, dockerd, CONTAINER, inputs, "bare") as bare:
        assert bare.state["envs"] == []
        assert plugin.diff_resource(bare, inputs).kinds == {}


def test_a_container_runs_as_configured(plugin: Plugin, dockerd: Dockerd) -> None:
    port = free_port()
    inputs = sleeper(
        dockerd,
        envs=["A=b c", "D=e"],
        hostname="inside",
        workingDir="/bin",
        ports=[{"internal": 80, "external": port, "ip": "127.0.0.1"}],
        uploads=[
            {"file": "/etc/one", "content": "first"},
            {"file": "/etc/two", "contentBase64": base64.b64encode(b"second").decode(),
             "permissions": "0600"},
        ],
        tmpfs={"/run": "size=1m"},
        hosts=[{"host": "other", "ip": "192.0.2.1"}],
        capabilities={"drops": ["ALL"]},
        memory=64,
        memorySwap=128,
        restart="unless-stopped",
    )  # fmt: skip
    with made(plugin, dockerd, CONTAINER, inputs, "web") as web:
        inspected = dockerd.container(web.id)
        assert inspected["State"]["Running"]
        assert inspected["Name"] == f"/{web.state['name']}"
        assert inspected["HostConfig"]["RestartPolicy"]["Name"] == "unless-stopped"
        assert inspected["HostConfig"]["Memory"] == 64 << 20
        assert inspected["HostConfig"]["CapDrop"] == ["ALL"]
        output = dockerd.run(web.id, "sh", "-c", "echo $A $D; cat /etc/hostname /etc/one /etc/two")
        assert output.split() == ["b", "c", "e", "inside", "firstsecond"]
        assert dockerd.run(web.id, "stat", "-c", "%a", "/etc/two") == "600"
        assert "192.0.2.1\tother" in dockerd.run(web.id, "cat", "/etc/hosts")
        assert "size=1024k" in dockerd.run(web.id, "cat", "/proc/mounts")
        assert web.state["networkDatas"][0]["ipAddress"].count(".") == 3
        assert web.state["ports"][0]["external"] == port
        # Neither a diff nor a refresh finds a change.
        assert plugin.diff_resource(web, inputs).kinds == {}
        again = plugin.refresh(web)
        assert again == web
    assert not dockerd.is_there(web.id)


def test_an_update_in_place_keeps_the_container(plugin: Plugin, dockerd: Dockerd) -> None:
    with made(plugin, dockerd, CONTAINER, sleeper(dockerd), "limits") as before:
        started = dockerd.container(before.id)["State"]["StartedAt"]
        inputs = sleeper(dockerd, restart="on-failure", maxRetryCount=3, memory=64, memorySwap=64)
        after = plugin.update_resource(before, inputs)
        inspected = dockerd.container(before.id)
        assert inspected["State"]["StartedAt"] == started
        assert inspected["HostConfig"]["Memory"] == 64 << 20
        policy = {"Name": "on-failure", "MaximumRetryCount": 3}
        assert inspected["HostConfig"]["RestartPolicy"] == policy
        assert after.state["hostname"] == before.state["hostname"]
        assert plugin.diff_resource(after, inputs).kinds == {}


def test_memory_without_swap_differs_after_each_read(plugin: Plugin, dockerd: Dockerd) -> None:
    """The daemon sets swap to twice the memory, which the released plugin reads as drift."""
    inputs = sleeper(dockerd, memory=64)
    with made(plugin, dockerd, CONTAINER, inputs, "swap") as resource:
        assert resource.state["memorySwap"] == 128
        assert plugin.diff_resource(resource, inputs).kinds == {"memorySwap": "DELETE"}
        assert plugin.diff_resource(plugin.update_resource(resource, inputs), inputs).kinds == {}


def test_a_changed_healthcheck_changes_the_state_only(plugin: Plugin, dockerd: Dockerd) -> None:
    """It reports success and does nothing: a program must force a replacement."""
    inputs = sleeper(dockerd, healthcheck=HEALTHY)
    with made(plugin, dockerd, CONTAINER, inputs, "check") as before:
        changed = sleeper(dockerd, healthcheck={**HEALTHY, "tests": ["CMD", "cat", "/none"]})
        after = plugin.update_resource(before, changed)
        assert after.state["healthcheck"]["tests"] == ["CMD", "cat", "/none"]
        assert dockerd.container(before.id)["Config"]["Healthcheck"]["Test"] == ["CMD", "true"]
        assert plugin.diff_resource(after, changed).kinds == {}


def test_a_duration_must_have_the_form_that_go_prints(plugin: Plugin, dockerd: Dockerd) -> None:
    """`1m` is read as `1m0s`, a difference until the next update."""
    inputs = sleeper(dockerd, healthcheck={**HEALTHY, "interval": "1m"})
    with made(plugin, dockerd, CONTAINER, inputs, "minute") as resource:
        assert plugin.diff_resource(resource, inputs).kinds == {"healthcheck.interval": "UPDATE"}


@pytest.mark.parametrize("grace", [None, 60])
def test_without_a_grace_period_it_is_killed_at_once(
    plugin: Plugin, dockerd: Dockerd, tmp_path: Path, grace: int | None
) -> None:
    script = (
        "trap 'sleep 2; echo bye >/out/bye; exit' TERM; echo up >/out/up; "
        "while true; do sleep 0.1; done"
    )
    inputs = sleeper(
        dockerd,
        command=["sh", "-c", script],
        volumes=[{"hostPath": str(tmp_path), "containerPath": "/out"}],
    )
    inputs |= {} if grace is None else {"destroyGraceSeconds": grace}
    with made(plugin, dockerd, CONTAINER, inputs, f"grace{grace}"):
        wait_for((tmp_path / "up").exists)
    assert (tmp_path / "bye").exists() == (grace is not None)


def test_delete_succeeds_if_it_is_gone(plugin: Plugin, dockerd: Dockerd) -> None:
    resource = plugin.create_resource(CONTAINER, sleeper(dockerd), name=named(dockerd, "gone"))
    dockerd.request("DELETE", f"/containers/{resource.id}?force=1")
    plugin.delete_resource(resource)
    assert plugin.refresh(resource) is None


def test_a_stopped_container_is_started_again(plugin: Plugin, dockerd: Dockerd) -> None:
    with made(plugin, dockerd, CONTAINER, sleeper(dockerd), "stopped") as resource:
        dockerd.request("POST", f"/containers/{resource.id}/stop?t=0")
        # Only a refresh notices.
        assert plugin.diff_resource(resource, sleeper(dockerd)).kinds == {}
        refreshed = plugin.refresh(resource)
        assert refreshed is not None
        assert (refreshed.state["mustRun"], refreshed.state["exitCode"]) == (False, 137)
        assert plugin.diff_resource(refreshed, sleeper(dockerd)).kinds == {"mustRun": "UPDATE"}
        after = plugin.update_resource(refreshed, sleeper(dockerd))
        assert dockerd.container(resource.id)["State"]["Running"]
        assert plugin.diff_resource(after, sleeper(dockerd)).kinds == {}


def test_a_stopped_container_with_ports_is_replaced(plugin: Plugin, dockerd: Dockerd) -> None:
    inputs = sleeper(dockerd, ports=[{"internal": 80}])
    with made(plugin, dockerd, CONTAINER, inputs, "ports") as resource:
        assert plugin.diff_resource(resource, inputs).kinds == {}
        dockerd.request("POST", f"/containers/{resource.id}/stop?t=0")
        refreshed = plugin.refresh(resource)
        assert refreshed is not None
        assert plugin.diff_resource(refreshed, inputs).replaces


def test_a_container_without_must_run_may_stop(plugin: Plugin, dockerd: Dockerd) -> None:
    inputs = sleeper(dockerd, command=["true"], mustRun=False)
    with made(plugin, dockerd, CONTAINER, inputs, "once") as resource:
        wait_for(lambda: not dockerd.container(resource.id)["State"]["Running"])
        refreshed = plugin.refresh(resource)
        assert refreshed is not None
        assert refreshed.state["exitCode"] == 0
        assert plugin.diff_resource(refreshed, inputs).kinds == {}
    inputs = sleeper(dockerd, start=False, mustRun=False)
    with made(plugin, dockerd, CONTAINER, inputs, "created") as resource:
        assert dockerd.container(resource.id)["State"]["Status"] == "created"


def test_an_image_given_by_id_is_no_difference(plugin: Plugin, dockerd: Dockerd) -> None:
    identity = dockerd.request("GET", f"/images/{dockerd.image}/json")["Id"]
    for image in (identity, dockerd.image):
        inputs = sleeper(dockerd, image=image)
        with made(plugin, dockerd, CONTAINER, inputs, "image") as resource:
            assert resource.state["image"] == image
            assert plugin.refresh(resource) == resource
            assert plugin.diff_resource(resource, inputs).kinds == {}


def test_a_refresh_detects_drift(plugin: Plugin, dockerd: Dockerd) -> None:
    with made(plugin, dockerd, CONTAINER, sleeper(dockerd), "drift") as resource:
        policy = {"RestartPolicy": {"Name": "always"}}
        dockerd.request("POST", f"/containers/{resource.id}/update", policy)
        refreshed = plugin.refresh(resource)
        assert refreshed is not None
        assert (refreshed.inputs["restart"], refreshed.state["restart"]) == ("always", "always")
        assert plugin.diff_resource(refreshed, sleeper(dockerd)).kinds == {"restart": "UPDATE"}


def test_import_needs_the_full_id(plugin: Plugin, dockerd: Dockerd) -> None:
    inputs = sleeper(dockerd, restart="always", memory=64, memorySwap=64)
    with made(plugin, dockerd, CONTAINER, inputs, "import") as resource:
        assert plugin.import_resource(CONTAINER, resource.state["name"]) is None
        found = plugin.import_resource(CONTAINER, resource.id)
        assert found is not None
        expected = {
            "image": dockerd.image,
            "name": resource.state["name"],
            "command": ["sleep", "1000"],
            "restart": "always",
            "memory": 64,
        }
        assert {name: found.inputs[name] for name in expected} == expected
        assert not found.inputs.keys() & {"tty", "dns", "mounts", "networkDatas"}


# Failures.


def test_a_name_conflict_records_nothing(plugin: Plugin, dockerd: Dockerd) -> None:
    inputs = sleeper(dockerd, name=named(dockerd, "taken"))
    with made(plugin, dockerd, CONTAINER, inputs, "first"):
        with pytest.raises(PluginError) as caught:
            plugin.create_resource(CONTAINER, inputs, name="second")
        assert "Unable to create container: Error response from daemon: Conflict." in str(
            caught.value
        )
        assert caught.value.partial is None


def test_an_image_that_cannot_be_pulled_records_nothing(plugin: Plugin, dockerd: Dockerd) -> None:
    with pytest.raises(PluginError) as caught:
        plugin.create_resource(CONTAINER, sleeper(dockerd, image="127.0.0.1:1/none:1"), name="it")
    text = str(caught.value)
    assert text.startswith("Unable to create container with image 127.0.0.1:1/none:1: unable to ")
    assert "connection refused" in text
    assert "\n" not in text
    assert caught.value.partial is None


def test_a_port_conflict_leaves_a_created_container(plugin: Plugin, dockerd: Dockerd) -> None:
    """The next update does nothing and succeeds: a defect of the released plugin."""
    with socket.create_server(("127.0.0.1", 0)) as busy:
        place = {"internal": 80, "external": busy.getsockname()[1], "ip": "127.0.0.1"}
        inputs = sleeper(dockerd, ports=[place])
        with pytest.raises(PluginError) as caught:
            plugin.create_resource(CONTAINER, inputs, name=named(dockerd, "busy"))
    assert "Unable to start container: Error response from daemon: " in str(caught.value)
    resource = partial_state(caught.value, CONTAINER)
    assert dockerd.container(resource.id)["State"]["Status"] == "created"
    assert plugin.diff_resource(resource, inputs).kinds == {}
    plugin.update_resource(resource, inputs)
    assert dockerd.container(resource.id)["State"]["Status"] == "created"
    plugin.delete_resource(resource)
    assert not dockerd.is_there(resource.id)


def test_wait_waits_until_healthy(plugin: Plugin, dockerd: Dockerd) -> None:
    inputs = sleeper(dockerd, healthcheck=HEALTHY, wait=True)
    with made(plugin, dockerd, CONTAINER, inputs, "healthy") as resource:
        assert dockerd.container(resource.id)["State"]["Health"]["Status"] == "healthy"


def test_an_expired_wait_leaves_the_container_running_and_recorded(
    plugin: Plugin, dockerd: Dockerd
) -> None:
    inputs = sleeper(dockerd, healthcheck=SICK, wait=True, waitTimeout=4)
    started = time.monotonic()
    with pytest.raises(PluginError) as caught:
        plugin.create_resource(CONTAINER, inputs, name=named(dockerd, "sick"))
    assert 4 <= time.monotonic() - started < 30
    assert "container failed to be in healthy state" in str(caught.value)
    resource = partial_state(caught.value, CONTAINER)
    # As soon as its check has failed twice, a second after another; the wait goes on meanwhile.
    wait_for(lambda: dockerd.container(resource.id)["State"]["Health"]["Status"] == "unhealthy")
    assert dockerd.container(resource.id)["State"]["Running"]
    assert resource.inputs["waitTimeout"] == 4
    # The next update ignores its health.
    plugin.update_resource(resource, inputs)
    plugin.delete_resource(resource)


def test_wait_without_a_healthcheck_is_an_error(plugin: Plugin, dockerd: Dockerd) -> None:
    with pytest.raises(PluginError) as caught:
        plugin.create_resource(
            CONTAINER, sleeper(dockerd, wait=True), name=named(dockerd, "nocheck")
        )
    assert "does not have a healthcheck defined" in str(caught.value)
    plugin.delete_resource(partial_state(caught.value, CONTAINER))


def test_a_failed_update_is_recorded_as_if_it_had_succeeded(
    plugin: Plugin, dockerd: Dockerd
) -> None:
    with made(plugin, dockerd, CONTAINER, sleeper(dockerd), "refused") as resource:
        inputs = sleeper(dockerd, memory=1, memorySwap=1)  # below the daemon's minimum
        with pytest.raises(PluginError) as caught:
            plugin.update_resource(resource, inputs)
        assert "Unable to update a container: Error response from daemon: " in str(caught.value)
        after = partial_state(caught.value, CONTAINER)
        assert after.id == resource.id
        assert plugin.diff_resource(after, inputs).kinds == {}
        assert dockerd.container(resource.id)["HostConfig"]["Memory"] == 0


def test_a_timeout_and_cancel_end_the_wait(docker_host: str, dockerd: Dockerd) -> None:
    inputs = sleeper(dockerd, healthcheck=SICK, wait=True, waitTimeout=120)
    with Plugin.start({"host": docker_host}) as plugin:
        with pytest.raises(PluginError) as caught:
            plugin.create_resource(CONTAINER, inputs, name=named(dockerd, "late"), timeout=10)
        assert "context deadline exceeded" in str(caught.value)
        plugin.delete_resource(partial_state(caught.value, CONTAINER))
        with ThreadPoolExecutor(1) as pool:
            name, inspected = named(dockerd, "cancelled"), len(plugin.messages())
            running = pool.submit(plugin.create_resource, CONTAINER, inputs, name=name)
            wait_for(lambda: len(plugin.messages()) > inspected)
            plugin.cancel()
            with pytest.raises(PluginError) as caught:
                running.result(10)
        assert "context canceled" in str(caught.value)
        resource = partial_state(caught.value, CONTAINER)
        assert dockerd.is_there(resource.id)
    with Plugin.start({"host": docker_host}) as plugin:
        plugin.delete_resource(resource)
