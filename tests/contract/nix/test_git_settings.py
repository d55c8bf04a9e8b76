"""Git asks servers as the user has set it up, asks no person, and its own reason is shown."""

import shlex
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from components.pipeline.errors import RefError
from components.pipeline.release import git as git_refs
from components.pipeline.values import Ref
from harness.daemons import sshd
from harness.daemons.git_repositories import commit, git
from harness.daemons.sshd import Sshd
from harness.ports import free_port

pytestmark = pytest.mark.contract


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with the tag v1; git has no settings but those that a test writes."""
    for name in ("GIT_SSH", "GIT_SSH_COMMAND", "GIT_ASKPASS", "SSH_ASKPASS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    folder = tmp_path / "app.git"
    folder.mkdir()
    (folder / "file").write_text("content")
    commit(folder)
    git(folder, "tag", "v1")
    return folder


def program(file: Path, text: str) -> Path:
    file.write_text(f"#!/bin/sh\n{text}\n")
    file.chmod(0o755)
    return file


def local_ssh(folder: Path, before: str = "") -> Path:
    """A program in place of ssh, that runs the command here."""
    return program(folder / "ssh", f'{before}\nfor last; do :; done\nexec sh -c "$last"')


def set_ssh_command(folder: Path, command: str) -> None:
    (folder / "gitconfig").write_text(f"[core]\n\tsshCommand = {command}\n")


async def refused(remote: str) -> str:
    with pytest.raises(RefError) as caught:
        await git_refs.resolve(remote, Ref("v1"), key="appRef")
    return str(caught.value)


@pytest.mark.parametrize("how", ["GIT_SSH_COMMAND", "GIT_SSH", "core.sshCommand"])
async def test_the_users_way_to_connect(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    ssh = local_ssh(tmp_path)
    if how == "core.sshCommand":
        set_ssh_command(tmp_path, str(ssh))
    else:
        monkeypatch.setenv(how, str(ssh))
    remote = f"ssh://git@git.example.test{repository}"
    pin = await git_refs.resolve(remote, Ref("v1"), key="appRef")
    assert pin.rev.text == git(repository, "rev-parse", "v1")


async def test_a_real_ssh_server(repository: Path, tmp_path: Path) -> None:
    if reason := sshd.missing():
        pytest.skip(reason)
    with Sshd.start(tmp_path / "sshd") as server:
        known_hosts = tmp_path / "known_hosts"
        known_hosts.write_text(f"[127.0.0.1]:{server.port} {server.host_key_line}\n")
        options = f"ssh -F none -o UserKnownHostsFile={known_hosts} -o IdentityAgent=none"
        remote = f"ssh://{server.user}@127.0.0.1:{server.port}{repository}"
        set_ssh_command(tmp_path, f"{options} -i {server.folder / 'client_key'}")
        pin = await git_refs.resolve(remote, Ref("v1"), key="appRef")
        assert pin.rev.text == git(repository, "rev-parse", "v1")
        other = sshd.make_key(tmp_path / "other")
        set_ssh_command(tmp_path, f"{options} -o IdentitiesOnly=yes -i {other}")
        text = await refused(remote)
        assert f": {server.user}@127.0.0.1: Permission denied (publickey). check the URL" in text
        known_hosts.write_text("")
        assert ": Host key verification failed. check the URL" in await refused(remote)


CLOSING = """\
fatal: Could not read from remote repository.

Please make sure you have the correct access rights
and the repository exists."""


@pytest.mark.parametrize(
    ("printed", "reason"),
    [
        (
            "ssh: Could not resolve hostname git.example.test: Name or service not known",
            "ssh: Could not resolve hostname git.example.test: Name or service not known",
        ),
        (
            "Warning: Permanently added 'git.example.test' (ED25519) to the list of known hosts.",
            "and the repository exists",
        ),
        ("ERROR: Repository not found.", "ERROR: Repository not found"),
        (
            (
                "remote: \nremote: ====\nremote: \nremote: ERROR: The project was not found.\n"
                "remote: \nremote: ====\nremote: "
            ),
            "remote: ERROR: The project was not found",
        ),
        (
            (
                "Received disconnect from 192.0.2.1 port 22:2: Too many authentication failures\n"
                "Disconnected from 192.0.2.1 port 22"
            ),
            "Received disconnect from 192.0.2.1 port 22:2: Too many authentication failures",
        ),
    ],
    ids=["name", "nothing but noise", "github", "gitlab", "too many keys"],
)
async def test_the_reason_of_ssh(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, printed: str, reason: str
) -> None:
    """Git's own last line is `and the repository exists.` whatever the reason."""
    monkeypatch.setenv("LANG", "de_DE.UTF-8")
    monkeypatch.setenv("LANGUAGE", "de")
    ssh = program(tmp_path / "ssh", f"printf '%s\\n' {shlex.quote(printed)} >&2; exit 255")
    monkeypatch.setenv("GIT_SSH", str(ssh))
    remote = f"ssh://git@git.example.test{repository}"
    text = await refused(remote)
    assert text == (
        f"cannot ask the git server: appRef on {remote}: {reason}. check the URL, the network and"
        f" your git credentials (`git ls-remote {remote}` must answer without a prompt)"
    )


class _Refuses(BaseHTTPRequestHandler):
    """Asks for a password, or has no such repository."""

    def do_GET(self) -> None:
        self.send_response(404 if self.path.startswith("/none") else 401)
        self.send_header("WWW-Authenticate", 'Basic realm="x"')
        body = b"There is no such project here."
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 its name there
        """Write no access log."""


@pytest.fixture
def http() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Refuses) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@pytest.mark.usefixtures("repository")
async def test_the_reason_of_curl(http: str) -> None:
    away = f"http://127.0.0.1:{free_port()}/app.git"
    assert "Failed to connect to 127.0.0.1 port" in await refused(away)
    assert (
        f"fatal: repository '{http}/none.git/' not found"
        " (remote: There is no such project here.). check" in await refused(f"{http}/none.git")
    )
    assert "terminal prompts disabled. check" in await refused(f"{http}/app.git")


@pytest.mark.usefixtures("repository")
@pytest.mark.parametrize("how", ["SSH_ASKPASS", "GIT_ASKPASS"])
async def test_nobody_is_asked_in_a_window(
    http: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """A program that has the password may give it; it has no display to ask on."""
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setenv("WAYLAND_DISPLAY", "wayland-0")
    log = tmp_path / "log"
    asks = program(tmp_path / "askpass", f'echo "[$DISPLAY$WAYLAND_DISPLAY]" >>{log}; echo wrong')
    monkeypatch.setenv(how, str(asks))
    assert "Authentication failed for" in await refused(f"{http}/app.git")
    assert set(log.read_text().split()) == {"[]"}


async def test_ssh_asks_nobody(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ssh uses SSH_ASKPASS with a display only, and has no terminal."""
    if reason := sshd.missing():
        pytest.skip(reason)
    log = tmp_path / "log"
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setenv("SSH_ASKPASS", str(program(tmp_path / "askpass", f"echo asked >>{log}")))
    with Sshd.start(tmp_path / "sshd") as server:
        key = sshd.make_key(tmp_path / "key", passphrase="secret")  # noqa: S106 of a test key
        (server.folder / "authorized_keys").write_text(sshd.public_key(key))
        set_ssh_command(tmp_path, f"ssh -F none -o UserKnownHostsFile=/dev/null -i {key}")
        remote = f"ssh://{server.user}@127.0.0.1:{server.port}{repository}"
        assert "Host key verification failed" in await refused(remote)
        set_ssh_command(
            tmp_path,
            "ssh -F none -o UserKnownHostsFile=/dev/null -o StrictHostKeyChecking=no"
            f" -o IdentitiesOnly=yes -i {key}",
        )
        assert "Permission denied (publickey)" in await refused(remote)
    assert not log.exists()


def has_ended(pid: int) -> bool:
    """Whether a process has; that nobody has reaped it yet does not matter."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


async def test_a_server_that_never_answers(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(git_refs, "TIMEOUT", 0.5)
    pid = tmp_path / "pid"
    ssh = program(tmp_path / "ssh", f"echo $$ >{pid}; exec sleep 60")
    monkeypatch.setenv("GIT_SSH", str(ssh))
    began = time.monotonic()
    text = await refused(f"ssh://git@git.example.test{repository}")
    assert time.monotonic() - began < 10
    assert "timed out after 0.5 s" in text
    assert has_ended(int(pid.read_text()))
