"""A real OpenSSH server on a free loopback port, with keys of its own and no system files.

```
with Sshd.start(folder) as server:
    connect("127.0.0.1", server.port, key=server.client_key_text, host_key=server.host_key_line)
```
It runs as the user of the tests, and accepts only that user. `kill_sessions` kills its connections,
but not the server.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import signal
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from harness.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_TIMEOUT: Final = 15.0
_CONFIG: Final = """\
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/authorized_keys
PidFile none
StrictModes no
UsePAM no
PermitRootLogin yes
PasswordAuthentication no
KbdInteractiveAuthentication no
MaxStartups 300
MaxSessions 300
LogLevel VERBOSE
Subsystem sftp internal-sftp
"""


def missing() -> str:
    """Why no server can be started here; empty if it can."""
    if program() is None:
        return "sshd is missing: install openssh-server"
    return "" if shutil.which("ssh-keygen") else "ssh-keygen is missing: install openssh-client"


def program() -> str | None:
    """The absolute path of sshd, which refuses to start by a relative one."""
    return shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


@dataclass(slots=True, kw_only=True)
class Sshd:
    """A running server; use it as a context manager, or call `stop`."""

    port: int
    host_key_line: str
    """The public host key as a line of authorized_keys: `ssh-ed25519 AAAA…`."""
    client_key_text: str
    """The private key of the accepted client."""
    user: str
    folder: Path
    _process: subprocess.Popen[bytes]

    @classmethod
    def start(cls, folder: Path, *, port: int = 0, options: Sequence[str] = ()) -> Self:
        """Start a server with its files in `folder`, and wait until it answers.

        Existing keys in the folder are reused, so that a server can come back on the same port
        with the same identity. `options` are lines of sshd_config that take precedence.
        """
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("host_key", "client_key"):
            if not (folder / name).exists():
                make_key(folder / name)
        shutil.copy(folder / "client_key.pub", folder / "authorized_keys")
        port = port or free_port()
        config = "\n".join((*options, _CONFIG.format(port=port, folder=folder)))
        (folder / "sshd_config").write_text(config)
        server = cls(
            port=port,
            host_key_line=public_key(folder / "host_key"),
            client_key_text=(folder / "client_key").read_text(),
            user=getpass.getuser(),
            folder=folder,
            _process=_spawn(folder),
        )
        try:
            server._wait_until_ready()
        except BaseException:
            server.stop()
            raise
        return server

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Stop the server and its connections."""
        self._process.terminate()
        self.kill_sessions()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def kill_sessions(self) -> int:
        """Kill every connection, but not the commands in them; returns how many there were."""
        sessions = self.sessions()
        for session in sessions:
            for process in reversed([session, *_sshd_below(session)]):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
        return len(sessions)

    def sessions(self) -> tuple[int, ...]:
        """The process ids of the connections."""
        return tuple(_children(self._process.pid))

    def log(self) -> str:
        """The server's log."""
        return (self.folder / "sshd.log").read_text(errors="replace")

    def connections(self) -> int:
        """The number of connections so far, without the probe at the start."""
        return self.log().count("Connection from ") - 1

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + _TIMEOUT
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                break
            with contextlib.suppress(OSError):
                if self._greets():
                    return
            time.sleep(0.02)
        msg = f"sshd does not answer on port {self.port}: {self.log()}"
        raise RuntimeError(msg)

    def _greets(self) -> bool:
        with socket.create_connection(("127.0.0.1", self.port), 1) as probe:
            return probe.recv(4) == b"SSH-"


def make_key(path: Path, *, kind: str = "ed25519", passphrase: str = "", form: str = "") -> Path:
    """Create a key pair at `path` and `path.pub`; `form` is a format for `ssh-keygen -m`."""
    shape = ("-m", form) if form else ()
    argv = ("ssh-keygen", "-q", "-t", kind, *shape, "-N", passphrase, "-C", "test", "-f", path)
    subprocess.run(argv, check=True, stdin=subprocess.DEVNULL)
    return path


def public_key(path: Path) -> str:
    """The public half of a key pair, without its comment."""
    return " ".join(path.with_name(f"{path.name}.pub").read_text().split()[:2])


def _spawn(folder: Path) -> subprocess.Popen[bytes]:
    reason = missing()
    if reason:
        raise RuntimeError(reason)
    if os.geteuid() == 0:
        # The chroot of Debian's sshd, which its service unit would create.
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    argv = (str(program()), "-D", "-e", "-f", str(folder / "sshd_config"))
    with (folder / "sshd.log").open("wb") as log:
        return subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )


def _stat(process: int) -> tuple[str, int]:
    """Name and parent of a process; raises OSError if it has exited."""
    text = Path(f"/proc/{process}/stat").read_text()
    name, _, rest = text.partition("(")[2].rpartition(")")
    return name, int(rest.split()[1])


def _children(parent: int) -> Iterator[int]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if _stat(int(entry.name))[1] == parent:
                    yield int(entry.name)


def _sshd_below(process: int) -> list[int]:
    """The descendants that are sshd, too, without the user's commands."""
    found: list[int] = []
    for child in _children(process):
        with contextlib.suppress(OSError):
            if _stat(child)[0].startswith("sshd"):
                found += [child, *_sshd_below(child)]
    return found
