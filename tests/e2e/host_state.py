"""The state of hosts and of the app's repository, observed without the program."""

import json
import re
import subprocess
from pathlib import Path

from harness.hosts import ContainerHost

Hosts = dict[str, ContainerHost]
WORKER, STEADY = "app-worker.service", "steady.service"


def system(host: ContainerHost) -> str:
    """The system that a host runs."""
    return _link(host, "/run/current-system")


def profile(host: ContainerHost) -> str:
    """The system that a host boots."""
    return _link(host, "/nix/var/nix/profiles/system")


def _link(host: ContainerHost, path: str) -> str:
    return host.query("readlink", "-f", path).strip()


def systems(hosts: Hosts) -> dict[str, str]:
    return {name: system(host) for name, host in hosts.items()}


def profiles(hosts: Hosts) -> dict[str, str]:
    return {name: profile(host) for name, host in hosts.items()}


def answers(hosts: Hosts) -> dict[str, str]:
    return {name: host.http() for name, host in hosts.items()}


def serving(version: str, *names: str) -> dict[str, str]:
    """What the app of a version answers on some hosts."""
    return {name: f"app {version} on {name}" for name in names}


def started(hosts: Hosts) -> dict[str, dict[str, int]]:
    return {name: host.started() for name, host in hosts.items()}


def worker_starts(host: ContainerHost) -> int:
    """How often the app's worker was started, by the journal."""
    journal = host.query("journalctl", "--unit", WORKER, "--output=cat", "--no-pager")
    return len(re.findall(r"^app worker v\d+ is running$", journal, re.MULTILINE))


def attempts(host: ContainerHost) -> list[dict[str, str]]:
    """The attempts recorded on a host, oldest first, by `history` of its runner."""
    output = host.query("sh", "/run/flakeup/switch", "history")
    return [json.loads(line) for line in output.splitlines()]


def attempt_state(host: ContainerHost) -> str:
    """The state of a host's latest attempt."""
    return host.query("cat", "/nix/var/flakeup/current/state").strip()


def logins(host: ContainerHost) -> int:
    """The number of ssh logins since the host booted, by the journal."""
    lines = host.query("journalctl", "--boot", "--output=cat", "--no-pager").splitlines()
    return sum(line.startswith("Accepted publickey for ") for line in lines)


def boot_default(host: ContainerHost) -> str:
    """The system in the default entry of the boot loader's own files."""
    loader = "/boot/loader"
    entry = re.search(r"^default (\S+)$", host.query("cat", f"{loader}/loader.conf"), re.MULTILINE)
    assert entry, "no default entry"
    text = host.query("cat", f"{loader}/entries/{entry[1]}")
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
