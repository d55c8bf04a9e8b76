"""Containers with systemd and sshd as hosts: for the demo, the tests and the benchmark.

Names, addresses and keys are all that the program under test gets to know of them. What is looked
at here goes another way (`incus exec`), so that it does not share a fault with the program.
"""

import hashlib
import http.client
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from harness.incus import HarnessError, Incus, Instance

MARK = "user.flakeup.made-by"
"""Config key of what `launch` made; nothing else is ever removed."""
OWNER = "user.flakeup.owner"
"""Config key of what the program made: the stack that it is of."""
PINNED = "user.flakeup.host-key"
KEYS = "user.flakeup.keys"
"""Config key that is set once a container has its keys: one without it is half made."""
HOST_KEY = "etc/ssh/ssh_host_ed25519_key"
AUTHORIZED = ("root/.ssh/authorized_keys", "home/deploy/.ssh/authorized_keys")
PORT = 8080
PATIENCE = 60.0
"""Seconds for a container to have an address and an sshd that answers."""
SIDE_BY_SIDE = 4
"""Containers made at the same time: more of them only wait for the same disk."""
PASSING = ("user@", "user-runtime-dir@", "run-user-", "app@", "systemd-hostnamed.", "ssh@")
"""How the names of units begin that start and end without anybody's doing."""
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerHost:
    """A container that is up: its sshd answers with the pinned key."""

    name: str
    """In the flake and in the config."""
    instance: str
    address: str
    host_key: str
    """`ssh-ed25519 AAAA…`, as the config's `hostKey` takes it."""
    incus: Incus

    def exec(self, *argv: str, timeout: float = 30) -> str:
        """Run a command in it as root, by Incus and not by ssh; gives its stdout.

        Raises:
            HarnessError: it failed.
        """
        return self.incus.call("exec", self.instance, "-T", "--", *argv, timeout=timeout)

    def http(self, path: str = "/", *, timeout: float = 5) -> str:
        """What the app answers; a connection that is refused is tried again until `timeout`.

        Raises:
            HarnessError: no answer in time, or not a 200.
        """
        end = time.monotonic() + timeout
        while True:
            try:
                return self._ask(path, timeout)
            except OSError as error:
                if time.monotonic() > end:
                    msg = f"{self.name}: http://{self.address}:{PORT}{path}: {error}"
                    raise HarnessError(msg) from None
                time.sleep(0.1)

    def _ask(self, path: str, timeout: float) -> str:
        connection = http.client.HTTPConnection(self.address, PORT, timeout=timeout)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            text = answer.read(64 * 1024).decode(errors="replace").strip()
        except http.client.HTTPException as error:
            raise ConnectionError(repr(error)) from error
        finally:
            connection.close()
        if answer.status != http.client.OK:
            msg = f"{self.name}: http status {answer.status}: {text}"
            raise HarnessError(msg)
        return text

    def started(self) -> dict[str, int]:
        """The units that are active, and when each was started (µs since the machine's boot).

        Left out: what comes and goes by itself, with logins, connections and questions on D-Bus.

        Raises:
            HarnessError: it failed, or said nothing.
        """
        # Now and then (one of some thousand) `incus exec` loses what a command has printed.
        units = next(filter(None, (self._shown() for _ in range(3))), "")
        if not units:
            msg = f"{self.name} names no units"
            raise HarnessError(msg)
        rows = (
            dict(line.split("=", 1) for line in row.splitlines()) for row in units.split("\n\n")
        )
        return {
            row["Id"]: int(row["ActiveEnterTimestampMonotonic"])
            for row in rows
            if row.get("ActiveState") == "active" and not row["Id"].startswith(PASSING)
        }

    def _shown(self) -> str:
        return self.exec(
            "systemctl", "show", "--property=Id,ActiveState,ActiveEnterTimestampMonotonic",
            "--", "*.service", "*.socket", "*.timer", "*.mount",
        )  # fmt: skip


def launch(
    prefix: str, names: Sequence[str], keys: Path, *, incus: Incus | None = None
) -> dict[str, ContainerHost]:
    """Bring up a host for each name, side by side; those that are up already are left alone.

    The containers are called `PREFIX-NAME`. `keys` is a private folder of the caller's: the client
    key (`client`, which root and deploy let in) and each host's key are made there, once.

    Raises:
        HarnessError: a container cannot be made, does not come up, or is somebody else's.
    """
    incus = incus or Incus.ready()
    keys.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name in ("client", *names):
        make_key(keys / name)
    there = incus.instances(prefix)
    for name in names:
        _refuse_strange(prefix, there.get(f"{prefix}-{name}"))
    _side_by_side(
        lambda name: _make(incus, f"{prefix}-{name}", there.get(f"{prefix}-{name}"), keys, name),
        names,
    )
    addresses = _addresses(incus, prefix, names)
    return {
        name: ContainerHost(
            name=name,
            instance=f"{prefix}-{name}",
            address=addresses[name],
            host_key=public_key(keys / name),
            incus=incus,
        )
        for name in names
    }


def remove(prefix: str, *, incus: Incus | None = None, owner: str = "") -> list[str]:
    """Delete the containers `PREFIX-…` of `launch`, or of the stack `owner`; gives their names."""
    incus = incus or Incus.ready()
    ours = [
        one.name
        for one in incus.instances(prefix).values()
        if one.config.get(MARK) == prefix or (owner and one.config.get(OWNER) == owner)
    ]
    _side_by_side(lambda name: _delete(incus, name), ours)
    return ours


def public_key(path: Path) -> str:
    """The public half of a key made here, without its comment."""
    return " ".join(path.with_name(f"{path.name}.pub").read_text().split()[:2])


def _refuse_strange(prefix: str, found: Instance | None) -> None:
    if found and found.config.get(MARK) != prefix:
        msg = f"the container {found.name} was not made by the demo: rename or delete it"
        raise HarnessError(msg)


def _side_by_side(work: Callable[[str], _T], names: Sequence[str]) -> list[_T]:
    with ThreadPoolExecutor(max_workers=SIDE_BY_SIDE) as pool:
        return list(pool.map(work, names))


def made(prefix: str, names: Sequence[str], *, incus: Incus) -> dict[str, ContainerHost]:
    """The hosts `PREFIX-NAME` that the program has made, as Incus says that they are.

    Raises:
        HarnessError: one is not there, or has no sshd that answers.
    """
    addresses = _addresses(incus, prefix, names)
    there = incus.instances(prefix)
    return {
        name: ContainerHost(
            name=name,
            instance=f"{prefix}-{name}",
            address=addresses[name],
            host_key=there[f"{prefix}-{name}"].config.get(PINNED, ""),
            incus=incus,
        )
        for name in names
    }


def make_key(path: Path) -> None:
    """Make a pair of ssh keys, where there is none; the private one is a file of its own."""
    if path.exists() and path.with_name(f"{path.name}.pub").exists():
        return
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    argv = ("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", f"demo-{path.name}", "-f", path)
    try:
        subprocess.run(argv, check=True, stdin=subprocess.DEVNULL, timeout=30)
    except FileNotFoundError:
        msg = "ssh-keygen is not on PATH: install openssh-client"
        raise HarnessError(msg) from None


def _make(incus: Incus, instance: str, found: Instance | None, keys: Path, name: str) -> None:
    """Bring one container to `running`, with its keys; a half-made one is made anew."""
    texts = (public_key(keys / "client"), public_key(keys / name), incus.image)
    wanted = hashlib.sha256("\n".join(texts).encode()).hexdigest()
    if found and found.config.get(KEYS) != wanted:
        _delete(incus, instance)
        found = None
    if found is None:
        prefix = instance.removesuffix(f"-{name}")
        incus.call("init", f"local:{incus.image}", instance, "--config", f"{MARK}={prefix}")
        _push(incus, keys / name, f"{instance}/{HOST_KEY}", mode="0600")
        for place in AUTHORIZED:
            # Root's, also in deploy's home: sshd takes either owner, and nobody else can add a key.
            _push(incus, keys / "client.pub", f"{instance}/{place}", mode="0644")
        incus.call("config", "set", instance, f"{KEYS}={wanted}")
    if found is None or not found.running:
        incus.call("start", instance)


def _push(incus: Incus, source: Path, target: str, *, mode: str) -> None:
    incus.call("file", "push", str(source), target, "--mode", mode, "--uid", "0", "--gid", "0")


def _delete(incus: Incus, instance: str) -> None:
    done = incus.attempt("delete", "--force", instance)
    if done.returncode and "not found" not in done.stderr.lower():
        msg = f"cannot delete the container {instance}: {done.stderr.strip()}"
        raise HarnessError(msg)


def _addresses(incus: Incus, prefix: str, names: Sequence[str]) -> dict[str, str]:
    """Wait until each has an address at which an sshd answers."""
    end = time.monotonic() + PATIENCE
    up: dict[str, str] = {}
    while True:
        there = incus.instances(prefix)
        for name in names:
            found = there.get(f"{prefix}-{name}")
            if name not in up and found and found.address and _answers(found.address):
                up[name] = found.address
        missing = [name for name in names if name not in up]
        if not missing:
            return up
        if time.monotonic() > end:
            first = f"{prefix}-{missing[0]}"
            msg = (
                f"no sshd answers on {', '.join(missing)} after {PATIENCE:.0f} s; look at"
                f" `incus --project {incus.project} exec {first} -- journalctl -b`"
            )
            raise HarnessError(msg)
        time.sleep(0.2)


def _answers(address: str) -> bool:
    try:
        with socket.create_connection((address, 22), timeout=1) as connection:
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False
