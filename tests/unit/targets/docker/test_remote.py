"""A daemon over ssh: the whole command line, the files it names, and the messages of failures."""

import stat
from pathlib import Path, PurePosixPath

import pytest

from components.pipeline.config.docker import Machine
from components.pipeline.errors import DockerError, DockerUnavailableError, ProcessError
from components.pipeline.targets.docker import remote
from components.pipeline.targets.docker.remote import SshEndpoint
from components.pipeline.transport.ssh_files import SshFiles, folder_of, write_ssh_files
from tests.unit.hosts import HOST_KEY
from tests.unit.transport.test_ssh import AGENT, KEY, WITH_KEY

HOST = "ssh://deploy@203.0.113.7:2222"
PINS = "docker-203.0.113.7-2222"


def options(*key: str) -> list[str]:
    return [
        "-F", "none",
        "-o", "ControlMaster=no",
        "-o", "ControlPath=none",
        "-o", "BatchMode=yes",
        "-o", "ConnectTimeout=5",
        "-o", "ServerAliveInterval=5",
        "-o", "ServerAliveCountMax=3",
        "-o", "StrictHostKeyChecking=yes",
        "-o", f"UserKnownHostsFile=.flakeup/prod/{PINS}",
        "-o", "GlobalKnownHostsFile=/dev/null",
        "-o", "HostKeyAlias=docker.host",
        "-o", "HostKeyAlgorithms=ssh-ed25519",
        "-o", "KexAlgorithms=-sntrup761*",
        "-o", "CheckHostIP=no",
        "-o", "UpdateHostKeys=no",
        "-o", "ForwardAgent=no",
        "-o", "LogLevel=ERROR",
        "-p", "2222",
        *key,
    ]  # fmt: skip


@pytest.mark.parametrize(("identity", "key"), [(AGENT, ()), (KEY, WITH_KEY)], ids=["agent", "key"])
def test_the_ssh_command(identity: SshFiles, key: tuple[str, ...]) -> None:
    machine = Machine.parse(HOST)
    assert list(remote.options(machine, identity)) == options(*key)
    assert list(SshEndpoint(machine=machine, host_key=HOST_KEY, identity=identity).argv) == [
        "ssh", "-T", *options(*key), "-l", "deploy", "--", "203.0.113.7",
        "docker system dial-stdio",
    ]  # fmt: skip


def test_the_files_are_private_and_named_relative_to_the_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = folder_of("prod")
    identity = write_ssh_files(folder, (), "a key")
    remote.pin(HOST, HOST_KEY, identity)
    remote.pin("unix:///var/run/docker.sock", None, identity)
    pins = folder / PINS
    assert pins.read_text() == f"docker.host {HOST_KEY.line}\n"
    assert stat.S_IMODE(pins.stat().st_mode) == 0o600
    found = SshEndpoint.find(HOST, folder)
    assert (found.host_key, found.identity) == (HOST_KEY, identity)
    assert identity.key == PurePosixPath(".flakeup/prod/ssh/key")
    assert not any(word.startswith("/") for word in remote.options(found.machine, identity))
    # Without a key in the config an agent logs in, and no key of an earlier run.
    write_ssh_files(folder, (), None)
    assert SshEndpoint.find(HOST, folder).identity.key is None


def test_a_user_without_permission_to_use_docker() -> None:
    stderr = (
        "WARNING: Error loading config file\nfailed to open the raw stream connection: "
        "dial unix /var/run/docker.sock: connect: permission denied"
    )
    endpoint = SshEndpoint(machine=Machine.parse(HOST), host_key=HOST_KEY, identity=AGENT)
    error = endpoint.explain(ProcessError(argv=endpoint.argv, code=1, detail=stderr))
    assert type(error) is DockerError
    assert str(error) == (
        "no permission to use Docker: docker.host (deploy@203.0.113.7, port 2222): failed to open "
        "the raw stream connection: dial unix /var/run/docker.sock: connect: permission denied. "
        "let deploy use Docker there, for example with the group docker"
    )


def test_a_broken_connection() -> None:
    endpoint = SshEndpoint(machine=Machine.parse(HOST), host_key=HOST_KEY, identity=AGENT)
    for code in (None, 255):
        error = ProcessError(
            argv=endpoint.argv, code=code, detail="Timeout, server not responding."
        )
        assert isinstance(endpoint.explain(error), DockerUnavailableError)
