"""Whole command lines of ssh, its files, and messages for its failures."""

import os
import shlex
import stat
from pathlib import Path, PurePosixPath

import pytest

from components.pipeline.config.stack import HostSpec
from components.pipeline.errors import (
    HostError,
    HostKeyError,
    ProcessError,
    UnreachableError,
    printable,
)
from components.pipeline.transport.ssh import Ssh, explain
from components.pipeline.transport.ssh_files import SshFiles, folder_of, write_ssh_files
from tests.unit.hosts import FINGERPRINT, HOST_KEY, host

AGENT = SshFiles(known_hosts=PurePosixPath(".flakeup/prod/known_hosts"), key=None)
KEY = SshFiles(
    known_hosts=PurePosixPath(".flakeup/prod/known_hosts"), key=PurePosixPath(".flakeup/prod/key")
)


def options(name: str = "web1", port: int = 22, *key: str) -> list[str]:
    return [
        "-F", "none",
        "-o", "ControlMaster=no",
        "-o", "ControlPath=none",
        "-o", "BatchMode=yes",
        "-o", "ConnectTimeout=5",
        "-o", "ServerAliveInterval=5",
        "-o", "ServerAliveCountMax=3",
        "-o", "StrictHostKeyChecking=yes",
        "-o", "UserKnownHostsFile=.flakeup/prod/known_hosts",
        "-o", "GlobalKnownHostsFile=/dev/null",
        "-o", f"HostKeyAlias={name}",
        "-o", "HostKeyAlgorithms=ssh-ed25519",
        "-o", "KexAlgorithms=-sntrup761*",
        "-o", "CheckHostIP=no",
        "-o", "UpdateHostKeys=no",
        "-o", "ForwardAgent=no",
        "-o", "LogLevel=ERROR",
        "-p", str(port),
        *key,
    ]  # fmt: skip


WITH_KEY = ("-i", ".flakeup/prod/key", "-o", "IdentitiesOnly=yes")


@pytest.mark.parametrize(
    ("spec", "identity", "expected"),
    [
        pytest.param(
            host(),
            AGENT,
            ["ssh", "-T", *options(), "-l", "root", "--", "192.0.2.10", "uname -m"],
            id="root, agent",
        ),
        pytest.param(
            host(user="deploy"),
            KEY,
            ["ssh", "-T", *options("web1", 22, *WITH_KEY), "-l", "deploy", "--", "192.0.2.10",
             "sudo -n -- uname -m"],
            id="sudo user, key",
        ),
        pytest.param(
            host("db_1", address="db.example.org", port=2222),
            KEY,
            ["ssh", "-T", *options("db_1", 2222, *WITH_KEY), "-l", "root", "--", "db.example.org",
             "uname -m"],
            id="port",
        ),
        pytest.param(
            host(address="2001:db8::1"),
            AGENT,
            ["ssh", "-T", *options(), "-l", "root", "--", "2001:db8::1", "uname -m"],
            id="IPv6",
        ),
    ],
)  # fmt: skip
def test_argv(spec: HostSpec, identity: SshFiles, expected: list[str]) -> None:
    assert list(Ssh.of(spec, identity).argv("uname", "-m")) == expected


@pytest.mark.parametrize("user", ["root", "deploy"])
def test_the_login_shell_gets_the_arguments_unchanged(user: str) -> None:
    words = ("/bin/sh", "-c", 'echo "$1"; exit 3', "x", "it's; $(reboot) `a`", "two\nlines", "")
    text = Ssh.of(host(user=user), AGENT).argv(*words)[-1]
    sudo = () if user == "root" else ("sudo", "-n", "--")
    assert tuple(shlex.split(text)) == (*sudo, *words)


@pytest.mark.parametrize(
    ("spec", "url"),
    [
        (host(), "ssh-ng://root@192.0.2.10"),
        (host(address="db.example.org", port=2222), "ssh-ng://root@db.example.org"),
        (host(address="2001:db8::1"), "ssh-ng://root@[2001:db8::1]"),
        (
            host(user="deploy"),
            "ssh-ng://deploy@192.0.2.10?remote-program=sudo%20-n%20nix-daemon",
        ),
    ],
)
def test_store_url(spec: HostSpec, url: str) -> None:
    assert Ssh.of(spec, AGENT).store_url == url


@pytest.mark.parametrize("identity", [AGENT, KEY])
def test_nix_splits_its_ssh_options_correctly(identity: SshFiles) -> None:
    """Nix splits NIX_SSHOPTS at white space and does not support quotes."""
    ssh = Ssh.of(host(port=2222), identity)
    assert ssh.nix_sshopts.split() == list(identity.options(ssh.host))
    assert not any(char in ssh.nix_sshopts for char in "'\"\\\n\t")


# --- files --------------------------------------------------------------------------------


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return Path(".flakeup/prod")


def test_ssh_files_are_private_and_relative(folder: Path) -> None:
    old = os.umask(0)
    try:
        identity = write_ssh_files(folder, [host("web1"), host("db_1")], "KEY\n\n")
    finally:
        os.umask(old)
    assert identity == KEY
    assert [mode(folder), mode(folder / "known_hosts"), mode(folder / "key")] == [
        0o700,
        0o600,
        0o600,
    ]
    assert (folder / "known_hosts").read_text() == f"web1 {HOST_KEY.line}\ndb_1 {HOST_KEY.line}\n"
    assert (folder / "key").read_text() == "KEY\n"


def test_ssh_files_without_a_key(folder: Path) -> None:
    assert write_ssh_files(folder, [host()], None) == AGENT
    assert [path.name for path in folder.iterdir()] == ["known_hosts"]


def test_ssh_files_are_replaced_atomically(folder: Path) -> None:
    write_ssh_files(folder, [host("web1")], "OLD")
    folder.chmod(0o755)
    (folder / "key").chmod(0o644)
    with (folder / "known_hosts").open() as before:
        write_ssh_files(folder, [host("web2")], "NEW")
        assert before.read() == f"web1 {HOST_KEY.line}\n"
    assert (folder / "known_hosts").read_text() == f"web2 {HOST_KEY.line}\n"
    assert (folder / "key").read_text() == "NEW\n"
    assert (mode(folder), mode(folder / "key")) == (0o700, 0o600)
    assert sorted(path.name for path in folder.iterdir()) == ["key", "known_hosts"]


# --- failures -----------------------------------------------------------------------------

CHANGED = """\
@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@
@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @
@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@
IT IS POSSIBLE THAT SOMEONE IS DOING SOMETHING NASTY!
Someone could be eavesdropping on you right now (man-in-the-middle attack)!
It is also possible that a host key has just been changed.
The fingerprint for the ED25519 key sent by the remote host is
SHA256:yLmlGPE2rHEsCtTl9cOCXEnOGzVkUI8YCFgvpRHMOUg.
Please contact your system administrator.
Add correct host key in .flakeup/prod/known_hosts to get rid of this message.
Offending ED25519 key in .flakeup/prod/known_hosts:1
Host key for web1 has changed and you have requested strict checking.
Host key verification failed."""
WHERE = "web1 (deploy@192.0.2.10, port 22)"
FIND_OUT = "find out why it changed; only then put the new key into hosts' hostKey"


@pytest.mark.parametrize(
    ("code", "stderr", "kind", "expected"),
    [
        pytest.param(
            255, CHANGED, HostKeyError,
            f"host key mismatch: {WHERE}: pinned {FINGERPRINT}, offered "
            f"SHA256:yLmlGPE2rHEsCtTl9cOCXEnOGzVkUI8YCFgvpRHMOUg. {FIND_OUT}",
            id="changed key",
        ),
        pytest.param(
            255,
            "Unable to negotiate with 192.0.2.10 port 22: no matching host key type found."
            " Their offer: rsa-sha2-512,ssh-rsa",
            HostKeyError,
            f"host key mismatch: {WHERE}: pinned {FINGERPRINT}, offered none."
            f" {FIND_OUT}",
            id="no ed25519 key",
        ),
        pytest.param(
            255, "deploy@192.0.2.10: Permission denied (publickey,password).", HostError,
            f"the login was refused: {WHERE}: deploy@192.0.2.10: Permission denied"
            " (publickey,password). add the public half of sshKey (or of your agent's key) to its"
            " authorized keys",
            id="login",
        ),
        pytest.param(
            1, "sudo: a password is required", HostError,
            f"sudo was refused: {WHERE}: sudo: a password is required."
            " let deploy use sudo without a password (NOPASSWD: ALL)",
            id="sudo",
        ),
        pytest.param(
            255, "ssh: connect to host 192.0.2.10 port 22: Connection refused", UnreachableError,
            f"cannot reach the host: {WHERE}: ssh: connect to host 192.0.2.10 port 22:"
            " Connection refused. check address, port, network and that sshd runs",
            id="refused",
        ),
        pytest.param(
            255, "ssh: Could not resolve hostname web1.invalid: Name or service not known",
            UnreachableError,
            f"cannot reach the host: {WHERE}: ssh: Could not resolve hostname web1.invalid:"
            " Name or service not known. check address, port, network and that sshd runs",
            id="name",
        ),
        pytest.param(
            None, "timed out after 10 s", UnreachableError,
            f"cannot reach the host: {WHERE}: timed out after 10 s."
            " check address, port, network and that sshd runs",
            id="time",
        ),
        pytest.param(
            255, "", UnreachableError,
            f"cannot reach the host: {WHERE}: exit status 255."
            " check address, port, network and that sshd runs",
            id="silent",
        ),
        pytest.param(
            1, "cat: write error: No space left on device", HostError,
            f"the host could not run the command: {WHERE}: cat: write error: No space left on"
            " device. check it: a full disk, its PATH, the login shell",
            id="full disk",
        ),
        pytest.param(
            126, "sh: 1: exec: /run/flakeup/switch: Permission denied", HostError,
            f"the host could not run the command: {WHERE}: sh: 1: exec: /run/flakeup/switch:"
            " Permission denied. check it: a full disk, its PATH, the login shell",
            id="no login's fault",
        ),
    ],
)  # fmt: skip
def test_explain(code: int | None, stderr: str, kind: type[HostError], expected: str) -> None:
    detail = printable(stderr, 4000, lines=True)
    error = ProcessError(argv=("ssh",), code=code, detail=detail)
    found = explain(Ssh.of(host(user="deploy"), KEY), error)
    assert type(found) is kind
    assert str(found) == expected


@pytest.mark.parametrize("has_agent", [True, False])
def test_a_login_without_any_key(
    monkeypatch: pytest.MonkeyPatch,
    has_agent: bool,  # noqa: FBT001
) -> None:
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    if has_agent:
        monkeypatch.setenv("SSH_AUTH_SOCK", "/run/nobody")
    stderr = "root@192.0.2.10: Permission denied (publickey)."
    error = ProcessError(argv=("ssh",), code=255, detail=stderr)
    found = str(explain(Ssh.of(host(), AGENT), error))
    assert ("there is no key to log in with" in found) is not has_agent
    assert ("add the public half of sshKey" in found) is has_agent


def test_git_ignores_the_files_of_ssh(tmp_path: Path) -> None:
    """Also in a repository into which somebody has copied the program without its .gitignore."""
    ignore = tmp_path / ".flakeup/.gitignore"
    write_ssh_files(tmp_path / folder_of("prod"), (), "a key")
    assert ignore.read_text() == "*\n"
    ignore.write_text("# ours\n")
    write_ssh_files(tmp_path / folder_of("staging"), (), "a key")
    assert ignore.read_text() == "# ours\n"
