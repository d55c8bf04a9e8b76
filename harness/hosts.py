"""Incus containers with systemd and sshd, as hosts for the demo, the tests and the benchmark.

The program under test knows only their names, addresses and keys. They are observed by
`incus exec`, not by ssh, so that tests do not share faults with the program.
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

CREATED_BY = "user.flakeup.made-by"
"""Config key of the containers that `launch` created; nothing else is ever removed."""
OWNER = "user.flakeup.owner"
"""Config key of the instances that the program created: the stack that owns them."""
HOST_KEY_CONFIG = "user.flakeup.host-key"
KEYS = "user.flakeup.keys"
"""Config key that is set once a container has its keys: it is incomplete without."""
HOST_KEY = "etc/ssh/ssh_host_ed25519_key"
AUTHORIZED = ("root/.ssh/authorized_keys", "home/deploy/.ssh/authorized_keys")
PORT = 8080
BOOT_TIMEOUT = 60.0
"""Seconds for a container to get an address and start sshd."""
PARALLEL = 4
"""Containers that are created in parallel: the disk is the bottleneck for more."""
TRANSIENT = ("user@", "user-runtime-dir@", "run-user-", "app@", "systemd-hostnamed.", "ssh@")
"""Prefixes of units that start and stop by themselves."""
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerHost:
    """A container that is up, with an sshd that uses the given host key."""

    name: str
    """In the flake and in the config."""
    instance: str
    address: str
    host_key: str
    """`ssh-ed25519 AAAA…`, as in `hostKey` of the config."""
    incus: Incus

    def exec(self, *argv: str, timeout: float = 30) -> str:
        """Run a command in it as root, by Incus and not by ssh; returns its stdout.

        Raises:
            HarnessError: it failed.
        """
        return self.incus.call("exec", self.instance, "-T", "--", *argv, timeout=timeout)

    def query(self, *argv: str, timeout: float = 30) -> str:
        """Run a read-only command as `exec` does; again if its output is lost (Incus.query).

        Raises:
            HarnessError: it failed, or its output was lost each time.
        """
        return self.incus.query(self.instance, *argv, timeout=timeout)

    def http(self, path: str = "/", *, timeout: float = 30) -> str:
        """What the app answers; refused connections are retried until `timeout`.

        Raises:
            HarnessError: no answer in time, or not a 200.
        """
        end = time.monotonic() + timeout
        while True:
            try:
                return self._get(path, timeout)
            except OSError as error:
                if time.monotonic() > end:
                    msg = f"{self.name}: http://{self.address}:{PORT}{path}: {error}"
                    raise HarnessError(msg) from None
                time.sleep(0.1)

    def _get(self, path: str, timeout: float) -> str:
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
        """The active units and when each was started (µs since the machine booted).

        Units that come and go with logins, connections and D-Bus requests are left out.

        Raises:
            HarnessError: the units cannot be listed.
        """
        units = self.query(
            "systemctl", "show", "--property=Id,ActiveState,ActiveEnterTimestampMonotonic",
            "--", "*.service", "*.socket", "*.timer", "*.mount",
        )  # fmt: skip
        if not units:
            msg = f"{self.name} lists no units"
            raise HarnessError(msg)
        rows = (
            dict(line.split("=", 1) for line in row.splitlines()) for row in units.split("\n\n")
        )
        return {
            row["Id"]: int(row["ActiveEnterTimestampMonotonic"])
            for row in rows
            if row.get("ActiveState") == "active" and not row["Id"].startswith(TRANSIENT)
        }


def launch(
    prefix: str, names: Sequence[str], keys: Path, *, incus: Incus | None = None
) -> dict[str, ContainerHost]:
    """Start a host for each name, in parallel; those that are up already are not touched.

    The containers are called `PREFIX-NAME`. In the private folder `keys`, the client key (`client`,
    accepted by root and deploy) and the key of each host are created if they are missing.

    Raises:
        HarnessError: a container cannot be created, does not boot, or is somebody else's.
    """
    incus = incus or Incus.ready()
    keys.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name in ("client", *names):
        make_key(keys / name)
    there = incus.instances(prefix)
    for name in names:
        _refuse_foreign(prefix, there.get(f"{prefix}-{name}"))
    _in_parallel(
        lambda name: _start(incus, f"{prefix}-{name}", there.get(f"{prefix}-{name}"), keys, name),
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
    """Delete the containers `PREFIX-…` of `launch` or of the stack `owner`; returns their names."""
    incus = incus or Incus.ready()
    ours = [
        one.name
        for one in incus.instances(prefix).values()
        if one.config.get(CREATED_BY) == prefix or (owner and one.config.get(OWNER) == owner)
    ]
    _in_parallel(lambda name: _delete(incus, name), ours)
    return ours


def public_key(path: Path) -> str:
    """The public half of a key, without its comment."""
    return " ".join(path.with_name(f"{path.name}.pub").read_text().split()[:2])


def _refuse_foreign(prefix: str, found: Instance | None) -> None:
    if found and found.config.get(CREATED_BY) != prefix:
        msg = f"the container {found.name} was not created by the demo: rename or delete it"
        raise HarnessError(msg)


def _in_parallel(work: Callable[[str], _T], names: Sequence[str]) -> list[_T]:
    with ThreadPoolExecutor(max_workers=PARALLEL) as pool:
        return list(pool.map(work, names))


def existing(prefix: str, names: Sequence[str], *, incus: Incus) -> dict[str, ContainerHost]:
    """The hosts `PREFIX-NAME` that the program has created, as Incus knows them.

    Raises:
        HarnessError: one does not exist, or its sshd does not answer.
    """
    addresses = _addresses(incus, prefix, names)
    there = incus.instances(prefix)
    return {
        name: ContainerHost(
            name=name,
            instance=f"{prefix}-{name}",
            address=addresses[name],
            host_key=there[f"{prefix}-{name}"].config.get(HOST_KEY_CONFIG, ""),
            incus=incus,
        )
        for name in names
    }


def make_key(path: Path) -> None:
    """Create a pair of ssh keys unless it exists; `path` is the private one."""
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


def _start(incus: Incus, instance: str, found: Instance | None, keys: Path, name: str) -> None:
    """Create and start a container with its keys; an incomplete one is created again."""
    texts = (public_key(keys / "client"), public_key(keys / name), incus.image)
    wanted = hashlib.sha256("\n".join(texts).encode()).hexdigest()
    if found and found.config.get(KEYS) != wanted:
        _delete(incus, instance)
        found = None
    if found is None:
        prefix = instance.removesuffix(f"-{name}")
        incus.call("init", f"local:{incus.image}", instance, "--config", f"{CREATED_BY}={prefix}")
        _push(incus, keys / name, f"{instance}/{HOST_KEY}", mode="0600")
        for place in AUTHORIZED:
            # Owned by root also in deploy's home: sshd accepts that, and only root can add a key.
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
    """Wait until each host has an address, and its sshd answers."""
    end = time.monotonic() + BOOT_TIMEOUT
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
                f"no sshd answers on {', '.join(missing)} after {BOOT_TIMEOUT:.0f} s; look at"
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
