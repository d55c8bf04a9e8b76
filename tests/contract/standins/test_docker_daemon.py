"""The `docker` plugin on a real daemon: networks, volumes, secrets, transports.

Runs against the stand-in, or against the binary that FLAKEUP_DOCKER_PLUGIN names.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from harness.daemons.docker_fixtures import HEALTHY, made, named, sleeper, wait_for
from harness.daemons.sshd import Sshd, missing
from harness.ports import free_port
from harness.providers.docker_driver import CONTAINER, NETWORK, VOLUME, Plugin
from harness.providers.plugin_driver import PluginError, failing, is_secret, reveal, secret
from harness.unix_http import ApiError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from harness.daemons.dockerd import Dockerd

pytestmark = pytest.mark.contract


@pytest.fixture(scope="module")
def plugin(docker_host: str) -> Iterator[Plugin]:
    with Plugin.start({"host": docker_host}) as running:
        yield running


# Networks and volumes.


def test_containers_in_a_network_resolve_each_other(plugin: Plugin, dockerd: Dockerd) -> None:
    config = [{"subnet": "10.213.7.0/24"}]
    inputs = {"labels": [dockerd.label], "ipamConfigs": config}
    with made(plugin, dockerd, NETWORK, inputs, "net") as network:
        assert network.state["driver"] == "bridge"
        assert plugin.diff_resource(network, inputs).kinds == {}
        assert plugin.refresh(network) == network
        place = {"name": network.state["name"], "aliases": ["app"], "ipv4Address": "10.213.7.77"}
        server = sleeper(dockerd, networksAdvanced=[place])
        client = sleeper(dockerd, networksAdvanced=[{"name": network.id}])
        with (
            made(plugin, dockerd, CONTAINER, server, "server") as one,
            made(plugin, dockerd, CONTAINER, client, "client") as two,
        ):
            networks = dockerd.container(one.id)["NetworkSettings"]["Networks"]
            assert networks.keys() == {network.state["name"]}
            assert one.state["networkDatas"][0]["ipAddress"] == "10.213.7.77"
            assert "10.213.7.77" in dockerd.run(two.id, "busybox", "nslookup", "app")
            assert plugin.diff_resource(one, server).kinds == {}


def test_a_network_in_use_is_waited_for(plugin: Plugin, dockerd: Dockerd) -> None:
    network = plugin.create_resource(
        NETWORK, {"labels": [dockerd.label]}, name=named(dockerd, "used")
    )
    inputs = sleeper(dockerd, networksAdvanced=[{"name": network.id}])
    resource = plugin.create_resource(CONTAINER, inputs, name=named(dockerd, "user"))
    with ThreadPoolExecutor(1) as pool:
        removal = pool.submit(plugin.delete_resource, network)
        time.sleep(1.5)
        assert not removal.done()
        plugin.delete_resource(resource)
        removal.result(10)
    assert plugin.refresh(network) is None
    plugin.delete_resource(network)


def test_a_network_that_stays_in_use_is_an_error(plugin: Plugin, dockerd: Dockerd) -> None:
    inputs = {"labels": [dockerd.label]}
    with made(plugin, dockerd, NETWORK, inputs, "held") as network:
        user = sleeper(dockerd, networksAdvanced=[{"name": network.id}])
        with (
            made(plugin, dockerd, CONTAINER, user, "holder"),
            failing("context deadline exceeded"),
        ):
            plugin.delete_resource(network, timeout=2)


def test_a_volume_outlives_its_containers(plugin: Plugin, dockerd: Dockerd) -> None:
    inputs = {"labels": [dockerd.label]}
    with made(plugin, dockerd, VOLUME, inputs, "data") as volume:
        assert volume.id == volume.state["name"]
        assert volume.state["mountpoint"].endswith(f"{volume.id}/_data")
        assert plugin.diff_resource(volume, inputs).kinds == {}
        assert plugin.refresh(volume) == volume
        writes = sleeper(
            dockerd,
            command=["sh", "-c", "echo kept >/data/file; sleep 1000"],
            mounts=[{"type": "volume", "source": volume.id, "target": "/data"}],
        )
        with made(plugin, dockerd, CONTAINER, writes, "writer") as one:
            wait_for(lambda: "kept" in dockerd.run(one.id, "cat", "/data/file"))
            assert plugin.diff_resource(one, writes).kinds == {}
        reads = sleeper(
            dockerd,
            volumes=[{"volumeName": volume.id, "containerPath": "/data", "readOnly": True}],
        )
        with made(plugin, dockerd, CONTAINER, reads, "reader") as two:
            assert dockerd.run(two.id, "cat", "/data/file") == "kept"
            assert "Read-only" in dockerd.run(two.id, "sh", "-c", "echo x >/data/file")
    with pytest.raises(ApiError):
        dockerd.request("GET", f"/volumes/{volume.id}")


def test_import_of_a_network_and_a_volume(plugin: Plugin, dockerd: Dockerd) -> None:
    inputs = {"labels": [dockerd.label]}
    for kind in (NETWORK, VOLUME):
        with made(plugin, dockerd, kind, inputs, "known") as resource:
            found = plugin.import_resource(kind, resource.id)
            assert found is not None
            assert found.inputs["name"] == resource.state["name"]
            assert found.inputs["labels"] == [dockerd.label]
        assert plugin.import_resource(kind, resource.id) is None


# Secrets.


def test_secrets_stay_secret(docker_host: str, dockerd: Dockerd) -> None:
    inputs = sleeper(dockerd, envs=secret(["A=sesame-open"]))
    with Plugin.start({"host": docker_host}) as plugin:
        with made(plugin, dockerd, CONTAINER, inputs, "secret") as resource:
            assert is_secret(resource.state["envs"])
            assert reveal(resource.state["envs"]) == ["A=sesame-open"]
            assert dockerd.run(resource.id, "sh", "-c", "echo $A") == "sesame-open"
            again = plugin.refresh(resource)
            assert again is not None
            assert is_secret(again.state["envs"])
            assert is_secret(again.inputs["envs"])
        with pytest.raises(PluginError) as caught:
            plugin.create_resource(CONTAINER, {**inputs, "image": "127.0.0.1:1/none"}, name="it")
        plugin.stop()
        assert "sesame" not in plugin.stderr() + str(caught.value) + "".join(plugin.messages())


# Transports.


def test_over_tcp(docker_host: str, dockerd: Dockerd) -> None:
    with (
        _forwarded(docker_host) as port,
        Plugin.start({"host": f"tcp://127.0.0.1:{port}"}) as plugin,
        made(plugin, dockerd, CONTAINER, sleeper(dockerd), "tcp") as resource,
    ):
        assert dockerd.is_there(resource.id)


def test_docker_host_of_the_environment_is_used(docker_host: str, dockerd: Dockerd) -> None:
    with (
        Plugin.start(environment={"DOCKER_HOST": docker_host}) as plugin,
        made(plugin, dockerd, VOLUME, {"labels": [dockerd.label]}, "env") as resource,
    ):
        assert dockerd.request("GET", f"/volumes/{resource.id}")["Name"] == resource.id


@pytest.mark.skipif(bool(missing()), reason=missing() or "never")
@pytest.mark.skipif(shutil.which("docker") is None, reason="no docker client on PATH")
def test_over_ssh(docker_host: str, dockerd: Dockerd, tmp_path: Path) -> None:
    if docker_host != "unix:///var/run/docker.sock":
        pytest.skip("the daemon is not where a client on the other side looks for it")
    with Sshd.start(tmp_path) as server:
        known = tmp_path / "known_hosts"
        known.write_text(f"[127.0.0.1]:{server.port} {server.host_key_line}\n")
        (tmp_path / "key").write_text(server.client_key_text)
        (tmp_path / "key").chmod(0o600)
        options = ["-F", "none", "-i", str(tmp_path / "key"), "-o", f"UserKnownHostsFile={known}"]
        host = f"ssh://{server.user}@127.0.0.1:{server.port}"
        settings = {"host": host, "sshOpts": json.dumps(options)}
        with (
            Plugin.start(settings) as plugin,
            made(plugin, dockerd, CONTAINER, sleeper(dockerd), "ssh") as resource,
        ):
            assert dockerd.is_there(resource.id)
        known.write_text("")
        settings["sshOpts"] = json.dumps([*options, "-o", "BatchMode=yes"])
        with Plugin.start(settings) as plugin, failing("Host key verification failed"):
            plugin.create_resource(CONTAINER, sleeper(dockerd), name="it")


@pytest.mark.skipif(shutil.which("docker-registry") is None, reason="no docker-registry on PATH")
def test_an_image_is_pulled_from_a_registry(
    plugin: Plugin, dockerd: Dockerd, tmp_path: Path
) -> None:
    with _registry(tmp_path) as place:
        name = f"{place}/{dockerd.prefix}"
        dockerd.request("POST", f"/images/{dockerd.image}/tag?repo={name}&tag=1")
        dockerd.request("POST", f"/images/{name}/push?tag=1")
        dockerd.request("DELETE", f"/images/{name}:1")
        inputs = sleeper(dockerd, image=f"{name}:1")
        try:
            with made(plugin, dockerd, CONTAINER, inputs, "pulled") as resource:
                assert resource.state["image"] == f"{name}:1"
            with failing("unable to pull image", "not found"):
                plugin.create_resource(CONTAINER, sleeper(dockerd, image=f"{name}:2"), name="it")
        finally:
            dockerd.request("DELETE", f"/images/{name}:1")


def test_many_containers_at_once(plugin: Plugin, dockerd: Dockerd) -> None:
    started = time.monotonic()
    names = [named(dockerd, f"many{number}") for number in range(8)]
    inputs = sleeper(dockerd, healthcheck={**HEALTHY, "interval": "6s"}, wait=True)
    with ThreadPoolExecutor(8) as pool:
        many = list(
            pool.map(lambda name: plugin.create_resource(CONTAINER, inputs, name=name), names)
        )
        list(pool.map(plugin.delete_resource, many))
    assert len({each.id for each in many}) == 8
    # One after another, they would wait for 48 s.
    assert time.monotonic() - started < 45


@contextlib.contextmanager
def _registry(folder: Path) -> Iterator[str]:
    port = free_port()
    config = {
        "version": 0.1,
        "storage": {"filesystem": {"rootdirectory": str(folder / "images")}},
        "http": {"addr": f"127.0.0.1:{port}"},
    }
    (folder / "config.yml").write_text(json.dumps(config))
    argv = ("docker-registry", "serve", str(folder / "config.yml"))
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            wait_for(lambda: _answers(port))
            yield f"127.0.0.1:{port}"
        finally:
            process.terminate()


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


@contextlib.contextmanager
def _forwarded(docker_host: str) -> Iterator[int]:
    """A local TCP port that forwards to the daemon's socket."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        opened: list[socket.socket] = []

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    near, _ = server.accept()
                    far = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
                    far.connect(docker_host.removeprefix("unix://"))
                    opened.extend((near, far))
                    for one, other in ((near, far), (far, near)):
                        threading.Thread(target=_pump, args=(one, other), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
        for each in opened:
            each.close()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
