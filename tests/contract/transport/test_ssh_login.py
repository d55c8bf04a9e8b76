"""What is said of logins that a real sshd refuses."""
# ruff: noqa: ASYNC240 small local files

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pytest

from components.pipeline.errors import ProcessError
from components.pipeline.process.run import run
from components.pipeline.transport.ssh import Ssh
from components.pipeline.transport.ssh_files import SshFiles
from harness.daemons import sshd
from harness.daemons.sshd import Sshd, make_key
from tests.unit.hosts import host

pytestmark = pytest.mark.contract


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    if reason := sshd.missing():
        pytest.skip(reason)
    with Sshd.start(tmp_path_factory.mktemp("sshd")) as started:
        yield started


@pytest.fixture
def agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An agent of the test's own, and no keys of the user's."""
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):  # it must not open a window
        monkeypatch.delenv(name, raising=False)
    socket = tmp_path / "agent"
    with subprocess.Popen(("ssh-agent", "-D", "-a", socket), stdout=subprocess.DEVNULL) as process:
        monkeypatch.setenv("SSH_AUTH_SOCK", str(socket))
        while not socket.exists():
            assert process.poll() is None
        yield socket
        process.terminate()


def add(*words: str | Path) -> None:
    """Add keys to the agent."""
    subprocess.run(("ssh-add", "-q", *words), check=True)


async def refused(server: Sshd, key: Path | None = None) -> str:
    """What is said of a login as the server's user that fails."""
    known_hosts = server.folder / "known_hosts"
    known_hosts.write_text(f"web1 {server.host_key_line}\n")
    files = SshFiles(
        known_hosts=PurePosixPath(known_hosts), key=None if key is None else PurePosixPath(key)
    )
    ssh = Ssh.of(host(address="127.0.0.1", port=server.port, user=server.user), files)
    with pytest.raises(ProcessError) as caught:
        await run(ssh.argv("true"), timeout=20)
    return str(ssh.explain(caught.value))


@pytest.mark.usefixtures("agent")
async def test_an_agent_with_many_keys(server: Sshd, tmp_path: Path) -> None:
    """The right key is the last of eight; the server takes six."""
    keys = [make_key(tmp_path / f"key{number}") for number in range(7)]
    add(*keys, server.folder / "client_key")
    text = await refused(server)
    assert text.startswith("the login was refused: web1 ")
    assert "Too many authentication failures" in text
    assert "or keep fewer keys in the agent" in text


async def test_a_key_that_others_may_read(server: Sshd, tmp_path: Path) -> None:
    key = Path(shutil.copy(server.folder / "client_key", tmp_path / "key"))
    key.chmod(0o644)
    text = await refused(server, key)
    assert text.startswith("the login was refused: web1 ")
    assert f"Permissions 0644 for '{key}' are too open. put this folder" in text


async def test_a_damaged_key(server: Sshd, tmp_path: Path) -> None:
    key = make_key(tmp_path / "key")
    key.write_text("-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n")
    key.with_suffix(".pub").unlink()
    text = await refused(server, key)
    assert text.startswith("the login was refused: web1 ")
    assert f'Load key "{key}": ' in text
    assert "set sshKey again" in text


@pytest.mark.usefixtures("agent")
async def test_a_locked_agent(server: Sshd) -> None:
    """An agent that asks before each use, and whose user says no."""
    add("-c", server.folder / "client_key")
    text = await refused(server)
    assert text.startswith("the login was refused: web1 ")
    assert "agent refused operation. unlock the agent" in text


async def test_a_host_without_key_logins(tmp_path: Path) -> None:
    options = ("PubkeyAuthentication no", "PasswordAuthentication yes")
    if reason := sshd.missing():
        pytest.skip(reason)
    with Sshd.start(tmp_path / "sshd", options=options) as server:
        text = await refused(server, server.folder / "client_key")
    assert "Permission denied (password). flakeup logs in with a key and nothing else" in text
