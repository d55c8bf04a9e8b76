"""Which failures of a commit are the host's, and which are not worth another try."""

from dataclasses import replace
from pathlib import PurePosixPath

import pytest

from components.hosts.connection import (
    Connection,
    IncusExecConnection,
    OpenSshConnection,
    SshConnection,
    connect,
)
from components.pipeline.config.incus import IncusSpec, TransportKind
from components.pipeline.config.jumps import Jump
from components.pipeline.transport.ssh_files import SshFiles
from components.pipeline.values import HostAddress
from tests.unit.hosts import HOST_KEY, host

FILES = SshFiles(known_hosts=PurePosixPath(".flakeup/dev/ssh/known_hosts"), key=None)
WEB1 = host()
INSIDE = replace(WEB1, incus=IncusSpec(name="web1", transport=TransportKind.EXEC))
SSH = connect(WEB1, FILES, None)
EXEC = connect(INSIDE, FILES, None)
JUMP = Jump(address=HostAddress.parse("bastion.example.org"), host_key=HOST_KEY)
JUMPS = connect(replace(WEB1, proxy_jump=(JUMP, JUMP)), FILES, None)


def test_the_config_decides_how_a_host_is_reached() -> None:
    assert isinstance(SSH, SshConnection)
    assert isinstance(EXEC, IncusExecConnection)
    over_ssh = replace(INSIDE, incus=replace(IncusSpec(name="web1"), transport=TransportKind.SSH))
    assert isinstance(connect(over_ssh, FILES, None), SshConnection)
    assert type(connect(replace(WEB1, proxy_jump=(JUMP,)), FILES, None)) is SshConnection
    assert isinstance(JUMPS, OpenSshConnection)


@pytest.mark.parametrize(
    ("connection", "text", "is_host", "is_permanent"),
    [
        (SSH, "Process exited with status 31: running …", True, False),
        (SSH, "after 1 failed attempts: dial tcp 192.0.2.10:22: connect refused", False, False),
        (SSH, "ssh: handshake failed: ssh: host key mismatch", False, True),
        (SSH, "ssh: unable to authenticate, attempted methods [none]", False, True),
        (SSH, "dial: context canceled", False, True),
        (SSH, "proxy: after 0 failed attempts: dial tcp 192.0.2.1:22: i/o timeout", False, False),
        (SSH, "proxy: after 0 failed attempts: ssh: host key mismatch", False, True),
        (JUMPS, "exit status 31: running …", True, False),
        (JUMPS, "exit status 255: running …\nstdio forwarding failed", False, False),
        (JUMPS, "exit status 255: running …\nHost key verification failed.", False, True),
        (JUMPS, "exit status 255: running …\nPermission denied (publickey).", False, True),
        (JUMPS, "signal: killed", False, False),
        (JUMPS, "context canceled", False, True),
        (EXEC, "exit status 31: running …", True, False),
        # Incus's client itself failed, or a shell, which cannot be told from it.
        (EXEC, "exit status 1: running …", False, False),
        (EXEC, "signal: killed", False, False),
        (EXEC, "context canceled", False, True),
    ],
)
def test_failures_of_a_commit(
    connection: Connection, text: str, *, is_host: bool, is_permanent: bool
) -> None:
    assert connection.is_host_failure(text) is is_host
    assert connection.is_permanent_failure(text) is is_permanent
