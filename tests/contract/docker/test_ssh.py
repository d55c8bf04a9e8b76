"""A Docker daemon over ssh: its connections, and the message of each failure."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import tempfile
import time
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from components.pipeline.errors import DockerError, DockerKeyError, DockerUnavailableError
from components.pipeline.targets.docker.daemon import Daemon, retry_through_restart
from components.pipeline.values import HostKey
from harness.daemons.daemon_proxy import DaemonProxy
from harness.daemons.docker_fixtures import wait_for
from harness.daemons.far_docker import NOTHING, FarDocker, another_key
from harness.daemons.sshd import make_key, missing
from harness.ports import free_port
from harness.providers.docker_driver import Plugin, ResourceState
from harness.providers.plugin_driver import PluginError
from tests.contract.docker.test_provider import CANDIDATE, IMAGE, PLUGIN
from tests.unit.targets.docker.archives import layer, members, write

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from harness.daemons.dockerd import Dockerd

pytestmark = [
    pytest.mark.contract,
    pytest.mark.skipif(bool(missing()), reason=missing() or "never"),
    pytest.mark.skipif(shutil.which("docker") is None, reason="no docker client on PATH"),
]
LARGE: Final = 40_000_000


@pytest.fixture
def proxy(tmp_path: Path, dockerd: Dockerd) -> Iterator[DaemonProxy]:
    with DaemonProxy(tmp_path / "docker.sock", dockerd.socket) as proxy:
        yield proxy


@pytest.fixture
def far(tmp_path: Path, proxy: DaemonProxy) -> Iterator[FarDocker]:
    with FarDocker.start(tmp_path, proxy.host) as far:
        yield far


@asynccontextmanager
async def daemon(far: FarDocker) -> AsyncIterator[Daemon]:
    async with Daemon(far.host, far.folder) as docker:
        yield docker


def ssh_commands(parent: int) -> set[str]:
    """The command lines of the ssh processes that a process has started."""
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text().rpartition(")")[2].split()
                if (entry / "comm").read_text() == "ssh\n" and stat[1] == str(parent):
                    found.add((entry / "cmdline").read_text().replace("\0", " "))
            except OSError:
                continue
    return found


async def test_requests_share_a_connection(
    far: FarDocker, dockerd: Dockerd, tmp_path: Path
) -> None:
    ref = f"{dockerd.prefix}:over-ssh"
    packed = members(layer({"large": os.urandom(LARGE)}), [ref], blobs=False)
    archive = write(tmp_path / "image.tar", packed).read_bytes()
    began = time.monotonic()
    async with daemon(far) as docker:
        for _ in range(20):
            assert (await docker.get("/version"))["Os"] == "linux"
        assert far.server.connections() == 1
        (argv,) = ssh_commands(os.getpid())
        assert "PRIVATE KEY" not in argv
        assert "-F none" in argv
        assert "StrictHostKeyChecking=yes" in argv
        asked = time.monotonic() - began

        async def pieces() -> AsyncIterator[bytes]:
            for start in range(0, len(archive), 1 << 20):
                yield archive[start : start + (1 << 20)]

        assert await docker.load(pieces()) == [f"Loaded image: {ref}"]
        assert (await docker.get(f"/images/{ref}/json"))["RepoTags"] == [ref]
        await docker.change("DELETE", f"/images/{ref}")
        assert far.server.connections() == 1
        # In parallel: one each. An sshd refuses some of so many, which are retried.
        asked_again = (
            retry_through_restart(docker, lambda: docker.get("/version")) for _ in range(16)
        )
        assert len(await asyncio.gather(*asked_again)) == 16
    print(f"20 requests {asked:.2f} s, with one handshake")  # noqa: T201 figures
    assert ssh_commands(os.getpid()) == set(), "none is left"


async def test_requests_are_retried_after_an_outage(far: FarDocker, proxy: DaemonProxy) -> None:
    async with daemon(far) as docker:

        async def listed() -> int:
            return len(await docker.get("/containers/json"))

        await retry_through_restart(docker, listed)
        trouble = proxy.disconnect("GET /containers/json", seconds=1.0)
        await retry_through_restart(docker, listed)
        assert trouble.triggered.is_set()
        assert far.server.kill_sessions() >= 1
        await retry_through_restart(docker, listed)
        with proxy.hold("GET /containers/json") as slow:
            task = asyncio.create_task(retry_through_restart(docker, listed))
            await asyncio.to_thread(slow.wait)
            assert far.server.kill_sessions() == 1
            await asyncio.wait_for(task, 30)


async def failure(far: FarDocker) -> DockerError:
    with pytest.raises(DockerError) as caught:
        async with daemon(far) as docker:
            await docker.get("/version")
    assert ssh_commands(os.getpid()) == set()
    return caught.value


async def test_each_failure_is_one_message(
    far: FarDocker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    monkeypatch.setenv("HOME", NOTHING)
    pinned, offered = another_key(tmp_path), far.server.host_key_line
    far.write(host_key=pinned)
    error = await failure(far)
    assert isinstance(error, DockerKeyError)
    assert str(error) == (
        f"host key mismatch: {far.where}: "
        f"pinned {HostKey.parse(pinned).fingerprint}, "
        f"offered {HostKey.parse(offered).fingerprint}. "
        "find out why it changed; only then put the new key into docker.hostKey"
    )
    far.write(key=make_key(tmp_path / "stranger").read_text())
    error = await failure(far)
    assert not isinstance(error, DockerUnavailableError)
    assert str(error) == (
        f"the login was refused: {far.where}: {far.server.user}@127.0.0.1: Permission denied "
        "(publickey). add the public half of sshKey (or of your agent's key) to its authorized keys"
    )
    (far.folder / "key").unlink()
    assert "there is no key to log in with: `pulumi config set" in str(await failure(far))
    far.server.stop()
    far.write()
    error = await failure(far)
    assert isinstance(error, DockerUnavailableError)
    assert str(error) == (
        f"cannot reach the machine of Docker: {far.where}: ssh: connect to host 127.0.0.1 port "
        f"{far.server.port}: Connection refused. "
        "check address, port, network and that sshd runs there"
    )


async def test_a_machine_without_docker_is_one_message(tmp_path: Path) -> None:
    with FarDocker.start(tmp_path / "one", "unix:///nonexistent") as far:
        error = await failure(far)
        assert isinstance(error, DockerUnavailableError)
        assert str(error) == (
            f"cannot reach Docker: {far.where}: failed to open the raw stream connection: dial "
            "unix /nonexistent: connect: no such file or directory. check that dockerd runs there"
        )
    with FarDocker.start(tmp_path / "two", "unix:///nonexistent", path=NOTHING) as far:
        error = await failure(far)
        assert not isinstance(error, DockerUnavailableError)
        text = str(error)
        assert text.startswith(f"no Docker client: {far.where}: ")
        assert "docker: " in text
        assert text.endswith("not found. install it there, on the PATH of commands over ssh")


async def test_without_the_ssh_files_of_the_program(tmp_path: Path) -> None:
    host = f"ssh://deploy@127.0.0.1:{free_port()}"
    with pytest.raises(DockerError) as caught:
        Daemon(host, tmp_path)
    assert str(caught.value) == (
        f"no pinned key: docker.host ({host}): not in "
        f"{tmp_path}/docker-127.0.0.1-{host.rpartition(':')[2]}. "
        "run `pulumi preview` here first, with this address as docker.host"
    )


def test_the_provider_finds_the_files_in_the_folder_of_the_project(
    proxy: DaemonProxy, dockerd: Dockerd, tmp_path: Path
) -> None:
    """A host key mismatch is an error of a preview too, an unavailable machine a warning."""
    files = tmp_path / ".flakeup" / "dev" / "ssh"
    with (
        tempfile.TemporaryDirectory() as sockets,
        FarDocker.start(tmp_path, proxy.host, files=files) as far,
        Plugin.run(
            PLUGIN, cwd=tmp_path, environment={"HOME": NOTHING, "TMPDIR": sockets}
        ) as plugin,
    ):
        inputs = {
            "host": far.host,
            "service": dockerd.prefix,
            "image": dockerd.image,
            "command": ["sleep", "1000"],
            "environment": {},
            "network": "bridge",
            "healthcheck": ["true"],
            "interval": 0.2,
            "wait": 10.0,
        }
        candidate = plugin.create_resource(CANDIDATE, inputs, name="it")
        assert plugin.diff_resource(candidate, inputs).kinds == {}
        assert proxy.requests("POST /containers/create") != []
        asked = {"host": far.host, "ref": dockerd.image, "built": f"/nix/store/{'a' * 32}-image"}
        image = ResourceState(
            kind=IMAGE, id=dockerd.image, inputs=asked, state={**asked, "imageId": "x"}
        )
        assert plugin.diff_resource(image, asked).kinds == {"imageId": "UPDATE"}, "it was asked"
        assert far.server.connections() == 1, "the next request uses it again"
        far.write(host_key=another_key(tmp_path))
        assert far.server.kill_sessions() == 1
        # A request on the broken connection would only find the machine unavailable.
        wait_for(lambda: not ssh_commands(plugin.process.pid))
        time.sleep(2)
        with pytest.raises(PluginError, match="host key mismatch"):
            plugin.diff_resource(image, asked)
        far.write()
        assert plugin.diff_resource(image, asked).kinds == {"imageId": "UPDATE"}
        assert list(Path(sockets).iterdir()) != []
        far.server.kill_sessions()
        far.server.stop()
        for it in (image, candidate, image):
            assert plugin.diff_resource(it, it.inputs).kinds == {}
        (warning,) = [one.text for one in plugin.engine.messages if one.severity == "WARNING"]
        assert warning.startswith(f"cannot reach the machine of Docker: {far.where}: ")
        assert warning.endswith("; using the state instead")
        plugin.process.send_signal(signal.SIGINT)  # as the engine ends it
        plugin.process.wait(30)
        assert list(Path(sockets).iterdir()) == []
