"""What there is to see of the hosts and the app's repository, by other ways than the program's."""

import json
import re
import subprocess
from pathlib import Path

from harness.hosts import ContainerHost

Hosts = dict[str, ContainerHost]
WORKER, STEADY = "app-worker.service", "steady.service"


def system(host: ContainerHost) -> str:
    """What a host runs."""
    return _link(host, "/run/current-system")


def profile(host: ContainerHost) -> str:
    """What a host boots."""
    return _link(host, "/nix/var/nix/profiles/system")


def _link(host: ContainerHost, path: str) -> str:
    # Seen once: `incus exec` ended well and had lost the output. `readlink` never says nothing.
    said = (host.exec("readlink", "-f", path).strip() for _ in range(3))
    return next(filter(None, said))


def systems(hosts: Hosts) -> dict[str, str]:
    return {name: system(host) for name, host in hosts.items()}


def profiles(hosts: Hosts) -> dict[str, str]:
    return {name: profile(host) for name, host in hosts.items()}


def answers(hosts: Hosts) -> dict[str, str]:
    return {name: host.http() for name, host in hosts.items()}


def serving(version: str, *names: str) -> dict[str, str]:
    """What the app of a version answers."""
    return {name: f"app {version} on {name}" for name in names}


def started(hosts: Hosts) -> dict[str, dict[str, int]]:
    return {name: host.started() for name, host in hosts.items()}


def starts_of_the_worker(host: ContainerHost) -> int:
    """How often the app's worker was started, as the journal has it."""
    said = host.exec("journalctl", "--unit", WORKER, "--output=cat", "--no-pager")
    return len(re.findall(r"^app worker v\d+ is running$", said, re.MULTILINE))


def attempts(host: ContainerHost) -> list[dict[str, str]]:
    """What a host remembers of its attempts, oldest first: the verb `history` of its runner."""
    said = host.exec("/run/flakeup/switch", "history")
    return [json.loads(line) for line in said.splitlines()]


def attempt_state(host: ContainerHost) -> str:
    """Where a host's newest attempt stands."""
    return host.exec("cat", "/nix/var/flakeup/current/state").strip()


def logins(host: ContainerHost) -> int:
    """How often somebody came in by ssh, as the journal has it."""
    lines = host.exec("journalctl", "--boot", "--output=cat", "--no-pager").splitlines()
    return sum(line.startswith("Accepted publickey for ") for line in lines)


def boot_default(host: ContainerHost) -> str:
    """The system that the boot loader starts, as its own files have it."""
    loader = "/boot/loader"
    entry = re.search(r"^default (\S+)$", host.exec("cat", f"{loader}/loader.conf"), re.MULTILINE)
    assert entry, "no default"
    text = host.exec("cat", f"{loader}/entries/{entry[1]}")
    found = re.search(r"^options init=(\S+)/init ", text, re.MULTILINE)
    assert found, text
    return found[1]


def git(repository: Path, *words: str) -> str:
    done = subprocess.run(
        ("git", "-C", str(repository), *words),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def commit(repository: Path, ref: str) -> str:
    return git(repository, "rev-parse", f"{ref}^{{commit}}")
