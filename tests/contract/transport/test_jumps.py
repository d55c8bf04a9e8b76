"""Hosts behind jumps, with real servers: ssh goes through them, and a failure names its machine."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from components.pipeline.config.hosts import HostSpec
from components.pipeline.config.jumps import Jump
from components.pipeline.errors import HostError, HostKeyError, ProcessError, UnreachableError
from components.pipeline.process.run import run
from components.pipeline.transport.ssh import Ssh
from components.pipeline.transport.ssh_files import write_ssh_files
from components.pipeline.values import HostAddress, HostKey, UserName
from harness.daemons.sshd import Sshd, make_key, missing, public_key
from harness.ports import free_port
from tests.unit.hosts import host

pytestmark = [
    pytest.mark.contract,
    pytest.mark.skipif(bool(missing()), reason=missing() or "never"),
]
LOCAL = HostAddress.parse("127.0.0.1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """Two jumps and a host: three servers that accept the same key."""

    servers: tuple[Sshd, ...]

    @property
    def jumps(self) -> tuple[Jump, ...]:
        return tuple(
            Jump(
                address=LOCAL,
                port=server.port,
                user=UserName(server.user),
                host_key=HostKey.parse(server.host_key_line),
            )
            for server in self.servers[:2]
        )

    @property
    def host(self) -> HostSpec:
        server = self.servers[2]
        spec = host(address="127.0.0.1", port=server.port, user=server.user)
        return replace(spec, host_key=HostKey.parse(server.host_key_line), proxy_jump=self.jumps)

    async def ask(self, spec: HostSpec, key: str | None = None) -> str:
        """Run a command on the host, through its jumps; a failure as it is explained."""
        files = write_ssh_files(Path("ssh"), [spec], key or self.servers[0].client_key_text)
        ssh = Ssh.of(spec, files)
        try:
            done = await run(ssh.argv("/bin/sh", "-c", "echo $SSH_CONNECTION"), timeout=60)
        except ProcessError as error:
            raise ssh.explain(error) from error
        return done.text


@pytest.fixture(scope="module")
def way(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Way]:
    folder = tmp_path_factory.mktemp("way")
    make_key(folder / "client_key")
    servers = []
    try:
        for name in ("first", "second", "host"):
            (folder / name).mkdir()
            for suffix in ("", ".pub"):
                shutil.copy(folder / f"client_key{suffix}", folder / name / f"client_key{suffix}")
            servers.append(Sshd.start(folder / name))
        yield Way(servers=tuple(servers))
    finally:
        for server in servers:
            server.stop()


@pytest.fixture(autouse=True)
def _program_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)


def changed(spec: HostSpec, number: int, **changes: object) -> HostSpec:
    """The host with something of a jump changed, from 0, or of itself at 2."""
    if number == len(spec.proxy_jump):
        return replace(spec, **changes)  # type: ignore[arg-type]
    jumps = list(spec.proxy_jump)
    jumps[number] = replace(jumps[number], **changes)  # type: ignore[arg-type]
    return replace(spec, proxy_jump=tuple(jumps))


async def test_a_connection_goes_through_all_jumps(way: Way) -> None:
    before = [server.connections() for server in way.servers]
    assert (await way.ask(way.host)).endswith(f" {way.servers[2].port}")
    assert [server.connections() for server in way.servers] == [count + 1 for count in before]


async def test_one_jump_is_enough(way: Way) -> None:
    before = way.servers[1].connections()
    await way.ask(replace(way.host, proxy_jump=way.jumps[:1]))
    assert way.servers[1].connections() == before


NAMES = ("jump 1 of 2 ", "jump 2 of 2 ", "")


@pytest.mark.parametrize("number", range(3))
async def test_each_key_is_pinned(way: Way, tmp_path: Path, number: int) -> None:
    other = HostKey.parse(public_key(make_key(tmp_path / "other")))
    right = way.servers[number].host_key_line
    with pytest.raises(HostKeyError) as caught:
        await way.ask(changed(way.host, number, host_key=other))
    text = str(caught.value)
    assert text.startswith(f"host key mismatch: web1 ({NAMES[number]}")
    assert f": pinned {other.fingerprint}, offered {HostKey.parse(right).fingerprint}. " in text


@pytest.mark.parametrize("number", range(3))
async def test_each_may_refuse_the_login(way: Way, number: int) -> None:
    authorized = way.servers[number].folder / "authorized_keys"
    kept = authorized.read_text()
    authorized.write_text("")
    try:
        with pytest.raises(HostError) as caught:
            await way.ask(way.host)
    finally:
        authorized.write_text(kept)
    text = str(caught.value)
    assert text.startswith(f"the login was refused: web1 ({NAMES[number]}{way.servers[0].user}@")
    assert f", port {way.servers[number].port}" in text
    assert "Permission denied (publickey)" in text


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (0, "cannot reach the jump: web1 (jump 1 of 2 "),
        (1, "the jump cannot reach the next one: web1 (jump 1 of 2 "),
        (2, "the jump cannot reach the host: web1 (jump 2 of 2 "),
    ],
)
async def test_each_may_be_unreachable(way: Way, number: int, expected: str) -> None:
    with pytest.raises(UnreachableError) as caught:
        await way.ask(changed(way.host, number, port=free_port()))
    assert str(caught.value).startswith(expected)


async def test_a_jump_that_may_not_forward(way: Way, tmp_path: Path) -> None:
    folder = tmp_path / "closed"
    folder.mkdir()
    for suffix in ("", ".pub"):
        shutil.copy(way.servers[0].folder / f"client_key{suffix}", folder)
    with Sshd.start(folder, options=("AllowTcpForwarding no",)) as closed:
        key = HostKey.parse(closed.host_key_line)
        spec = changed(way.host, 1, port=closed.port, host_key=key)
        with pytest.raises(UnreachableError) as caught:
            await way.ask(spec)
    text = str(caught.value)
    assert text.startswith("the jump cannot reach the host: web1 (jump 2 of 2 ")
    assert "AllowTcpForwarding" in text


async def test_the_users_own_config_is_not_read(way: Way, tmp_path: Path) -> None:
    (tmp_path / ".ssh").mkdir(mode=0o700)
    (tmp_path / ".ssh" / "config").write_text("Host *\n  ProxyCommand false\n  Port 1\n")
    assert await way.ask(way.host)
