"""Hosts behind jumps: the files of ssh, and which machine on the way a failure is of."""

import stat
from dataclasses import replace
from pathlib import Path, PurePosixPath

import pytest

from components.pipeline.config.hosts import Target
from components.pipeline.config.jumps import Jump
from components.pipeline.errors import HostError, HostKeyError, ProcessError, UnreachableError
from components.pipeline.transport.ssh import Ssh, explain
from components.pipeline.transport.ssh_errors import failed_hop
from components.pipeline.transport.ssh_files import SshFiles, write_ssh_files
from components.pipeline.values import HostAddress, HostKey, UserName
from tests.unit.hosts import FINGERPRINT, HOST_KEY, host

FILES = SshFiles(
    known_hosts=PurePosixPath(".flakeup/prod/known_hosts"), key=PurePosixPath(".flakeup/prod/key")
)
OTHER_KEY = HostKey.parse(
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAII37QsfaC6TZC04ULDxkqO8IB9/KJvwLWbiP2ORl634Q"
)
FIRST = Jump(
    address=HostAddress.parse("bastion.example.org"), user=UserName("jump"), host_key=OTHER_KEY
)
SECOND = Jump(address=HostAddress.parse("2001:db8::1"), port=2222, host_key=HOST_KEY)
ONE = replace(host(user="deploy", port=2022), proxy_jump=(FIRST,))
TWO = replace(ONE, proxy_jump=(FIRST, SECOND))
CONFIG = """\
Host jump_1
  HostName bastion.example.org
  User jump
  ProxyJump none
  Port 22
  IdentityFile .flakeup/prod/key
  IdentitiesOnly yes
  ControlMaster no
  ControlPath none
  BatchMode yes
  ConnectTimeout 5
  ServerAliveInterval 5
  ServerAliveCountMax 3
  StrictHostKeyChecking yes
  UserKnownHostsFile .flakeup/prod/jump_keys-web1
  GlobalKnownHostsFile /dev/null
  HostKeyAlias jump_1
  HostKeyAlgorithms ssh-ed25519
  KexAlgorithms -sntrup761*
  CheckHostIP no
  UpdateHostKeys no
  ForwardAgent no
  LogLevel ERROR

Host jump_2
  HostName 2001:db8::1
  User root
  ProxyJump jump_1
  Port 2222
  IdentityFile .flakeup/prod/key
  IdentitiesOnly yes
  ControlMaster no
  ControlPath none
  BatchMode yes
  ConnectTimeout 10
  ServerAliveInterval 5
  ServerAliveCountMax 3
  StrictHostKeyChecking yes
  UserKnownHostsFile .flakeup/prod/jump_keys-web1
  GlobalKnownHostsFile /dev/null
  HostKeyAlias jump_2
  HostKeyAlgorithms ssh-ed25519
  KexAlgorithms -sntrup761*
  CheckHostIP no
  UpdateHostKeys no
  ForwardAgent no
  LogLevel ERROR

Host * !jump_*
  ProxyJump jump_2
  Port 2022
  IdentityFile .flakeup/prod/key
  IdentitiesOnly yes
  ControlMaster no
  ControlPath none
  BatchMode yes
  ConnectTimeout 15
  ServerAliveInterval 5
  ServerAliveCountMax 3
  StrictHostKeyChecking yes
  UserKnownHostsFile .flakeup/prod/known_hosts
  GlobalKnownHostsFile /dev/null
  HostKeyAlias web1
  HostKeyAlgorithms ssh-ed25519
  KexAlgorithms -sntrup761*
  CheckHostIP no
  UpdateHostKeys no
  ForwardAgent no
  LogLevel ERROR
"""


def test_every_machine_on_the_way_has_all_options() -> None:
    assert FILES.config(TWO) == CONFIG


def test_an_agents_keys_are_used_for_jumps_too() -> None:
    assert "Identit" not in replace(FILES, key=None).config(TWO)


def test_an_instance_behind_a_jump_keeps_its_own_known_hosts() -> None:
    instance = replace(ONE, target=Target.INCUS, address=None, host_key=None)
    assert "UserKnownHostsFile .flakeup/prod/known_hosts-web1\n" in FILES.config(instance)


def test_ssh_and_nix_read_the_file_alone() -> None:
    ssh = Ssh.of(TWO, FILES)
    assert ssh.argv("uname", "-m") == (
        "ssh", "-T", "-F", ".flakeup/prod/ssh_config-web1", "-l", "deploy", "--", "192.0.2.10",
        "sudo -n -- uname -m",
    )  # fmt: skip
    assert ssh.nix_sshopts == "-F .flakeup/prod/ssh_config-web1"
    assert ssh.store_url.startswith("ssh-ng://deploy@192.0.2.10?")


def test_the_files_are_written_for_hosts_with_jumps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = Path(".flakeup/prod")
    written = write_ssh_files(folder, iter([TWO, host("web2")]), "KEY")
    assert written == FILES
    assert (folder / "ssh_config-web1").read_text() == CONFIG
    keys = f"jump_1 {OTHER_KEY.line}\njump_2 {HOST_KEY.line}\n"
    assert (folder / "jump_keys-web1").read_text() == keys
    assert (folder / "known_hosts").read_text() == f"web1 {HOST_KEY.line}\nweb2 {HOST_KEY.line}\n"
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
    names = ("jump_keys-web1", "key", "known_hosts", "ssh_config-web1")
    assert modes == dict.fromkeys(names, 0o600)


CLOSED = "kex_exchange_identification: Connection closed by remote host"
REFUSED = "ssh: connect to host 192.0.2.1 port 22: Connection refused"
DENIED = "jump@bastion.example.org: Permission denied (publickey)."
LATE = "Connection timed out during banner exchange"


@pytest.mark.parametrize(
    ("lines", "number", "printed"),
    [
        ((REFUSED, CLOSED, CLOSED), 0, REFUSED),
        ((REFUSED, CLOSED), 1, REFUSED),
        ((DENIED,), 2, DENIED),
        ((LATE, CLOSED, CLOSED), 0, LATE),
        ((LATE,), 2, LATE),
        # The connection itself is closed, by whatever listens there.
        ((CLOSED, CLOSED, CLOSED), 0, CLOSED),
        ((CLOSED, CLOSED), 1, CLOSED),
        ((CLOSED,), 2, CLOSED),
        # Other versions say it twice.
        ((REFUSED, CLOSED, "Connection closed by UNKNOWN port 65535"), 1, REFUSED),
        ((), 2, ""),
        ((REFUSED, *[CLOSED] * 5), 0, REFUSED),
    ],
)
def test_the_machine_that_failed(lines: tuple[str, ...], number: int, printed: str) -> None:
    assert failed_hop("\n".join(lines), 2) == (number, printed)


CHANGED = """\
The fingerprint for the ED25519 key sent by the remote host is
SHA256:yLmlGPE2rHEsCtTl9cOCXEnOGzVkUI8YCFgvpRHMOUg.
Host key for jump_1 has changed and you have requested strict checking.
Host key verification failed."""
WHERE = "web1 (jump jump@bastion.example.org, port 22)"


@pytest.mark.parametrize(
    ("printed", "kind", "expected"),
    [
        pytest.param(
            (DENIED, CLOSED), HostError,
            f"the login was refused: {WHERE}: jump@bastion.example.org: Permission denied "
            "(publickey). add the public half of sshKey (or of your agent's key) to its "
            "authorized keys",
            id="login",
        ),
        pytest.param(
            (CHANGED, CLOSED), HostKeyError,
            f"host key mismatch: {WHERE}: pinned {OTHER_KEY.fingerprint}, offered "
            "SHA256:yLmlGPE2rHEsCtTl9cOCXEnOGzVkUI8YCFgvpRHMOUg. find out why it changed; only "
            "then put the new key into proxyJump's hostKey",
            id="key",
        ),
        pytest.param(
            (REFUSED, CLOSED), UnreachableError,
            f"cannot reach the jump: {WHERE}: {REFUSED}. check its address, port, network and "
            "that sshd runs",
            id="unreachable",
        ),
        pytest.param(
            ("stdio forwarding failed", CLOSED), UnreachableError,
            f"the jump cannot reach the host: {WHERE}: no connection to port 2022 of the host. "
            "check that sshd runs there, and that the jump may forward (AllowTcpForwarding)",
            id="not forwarded",
        ),
        pytest.param(
            ("deploy@192.0.2.10: Permission denied (publickey).",), HostError,
            "the login was refused: web1 (deploy@192.0.2.10, port 2022, through "
            "jump@bastion.example.org): deploy@192.0.2.10: Permission denied (publickey). add the "
            "public half of sshKey (or of your agent's key) to its authorized keys",
            id="the host's login",
        ),
        pytest.param(
            (LATE,), UnreachableError,
            "cannot reach the host: web1 (deploy@192.0.2.10, port 2022, through "
            f"jump@bastion.example.org): {LATE}. check address, port, network and that sshd runs",
            id="the host is silent",
        ),
    ],
)  # fmt: skip
def test_a_failure_names_its_machine(
    printed: tuple[str, ...], kind: type[HostError], expected: str
) -> None:
    error = ProcessError(argv=("ssh",), code=255, detail="\n".join(printed))
    found = explain(Ssh.of(ONE, FILES), error)
    assert type(found) is kind
    assert str(found) == expected


def test_a_failure_names_its_place_among_several() -> None:
    where = "web1 (jump 1 of 2 jump@bastion.example.org, port 22)"
    error = ProcessError(
        argv=("ssh",), code=255, detail=f"stdio forwarding failed\n{CLOSED}\n{CLOSED}"
    )
    assert str(explain(Ssh.of(TWO, FILES), error)).startswith(
        f"the jump cannot reach the next one: {where}: no connection to jump 2. "
    )
    error = ProcessError(argv=("ssh",), code=255, detail=CHANGED.replace("jump_1", "web1"))
    assert f"through jump@bastion.example.org and root@2001:db8::1): pinned {FINGERPRINT}" in str(
        explain(Ssh.of(TWO, FILES), error)
    )


def test_a_command_that_fails_is_the_hosts() -> None:
    error = ProcessError(argv=("ssh",), code=1, detail="sudo: a password is required")
    assert str(explain(Ssh.of(ONE, FILES), error)).startswith("sudo was refused: web1 (deploy@")
