"""A daemon over ssh: the whole command line, the files that it names, and what failures mean."""

import stat
from pathlib import Path, PurePosixPath

import pytest

from components.pipeline.config.docker import Machine
from components.pipeline.errors import DockerAwayError, DockerError, ProcessError
from components.pipeline.targets.docker import remote
from components.pipeline.targets.docker.remote import Remote
from components.pipeline.transport.ssh import SshFiles, folder_of, write_ssh_files
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
def test_the_command_has_the_options_of_a_host(identity: SshFiles, key: tuple[str, ...]) -> None:
    machine = Machine.parse(HOST)
    assert list(remote.options(machine, identity)) == options(*key)
    assert list(Remote(machine=machine, host_key=HOST_KEY, identity=identity).argv) == [
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
    found = Remote.find(HOST, folder)
    assert (found.host_key, found.identity) == (HOST_KEY, identity)
    assert identity.key == PurePosixPath(".flakeup/prod/ssh/key")
    assert not any(word.startswith("/") for word in remote.options(found.machine, identity))
    # Another one, without a key: who logs in is an agent's affair, and not that of an old file.
    write_ssh_files(folder, (), None)
    assert Remote.find(HOST, folder).identity.key is None


def test_a_user_who_may_not_use_docker_is_one_message() -> None:
    said = (
        "WARNING: Error loading config file\nfailed to open the raw stream connection: "
        "dial unix /var/run/docker.sock: connect: permission denied"
    )
    way = Remote(machine=Machine.parse(HOST), host_key=HOST_KEY, identity=AGENT)
    error = way.explain(ProcessError(argv=way.argv, code=1, detail=said))
    assert type(error) is DockerError
    assert str(error) == (
        "Docker is not allowed: docker.host (deploy@203.0.113.7, port 2222): failed to open the "
        "raw stream connection: dial unix /var/run/docker.sock: connect: permission denied. "
        "let deploy use Docker there, such as by the group docker"
    )


def test_a_connection_that_breaks_is_a_daemon_that_is_away() -> None:
    way = Remote(machine=Machine.parse(HOST), host_key=HOST_KEY, identity=AGENT)
    for code in (None, 255):
        error = ProcessError(argv=way.argv, code=code, detail="Timeout, server not responding.")
        assert isinstance(way.explain(error), DockerAwayError)
