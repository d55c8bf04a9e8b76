"""Hosts, an app on a git server and a stack, which all tests share and reset."""

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import hosts as containers
from harness.daemons.git_server import git_daemon
from harness.hosts import ContainerHost
from harness.incus import ROOT
from tests.e2e.docker_stack import (  # noqa: F401 fixtures
    docker_inspector,
    docker_place,
    docker_proxy,
    docker_stack,
    services,
)
from tests.e2e.runner_hosts import runner_hosts, runner_place, systems, web1  # noqa: F401 fixtures
from tests.e2e.stack import PREFIX, Backend, Workspace

PARTS = ("pulumi", "nix", "incus", "image")


@pytest.fixture(scope="session")
def tools() -> None:
    """Skip, with the reason, if this machine lacks a part of the toolchain."""
    argv = (sys.executable, str(ROOT / "tools" / "bootstrap"), "--status", "--json")
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    parts = json.loads(done.stdout)["parts"]
    for name in PARTS:
        part = parts[name]
        if part["state"] != "ready":
            pytest.skip(f"no {name}: {part.get('reason')}; {part.get('remedy')}")


@pytest.fixture(scope="session")
def place(tools: None) -> Iterator[Path]:  # noqa: ARG001 skips without the tools
    """A private folder with a short path."""
    folder = Path(tempfile.mkdtemp(prefix="flakeup-e2e-"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def keys(place: Path) -> Path:
    return place / "keys"


@pytest.fixture(scope="session")
def hosts(keys: Path) -> Iterator[dict[str, ContainerHost]]:
    """Two new hosts: web1 is reached as root, web2 as a user with sudo."""
    containers.remove(PREFIX)
    try:
        yield containers.launch(PREFIX, ("web1", "web2"), keys)
    finally:
        containers.remove(PREFIX)


@pytest.fixture(scope="session")
def third(hosts: dict[str, ContainerHost], keys: Path) -> ContainerHost:  # noqa: ARG001 removes it, too
    """A third host, for faults; removed with the others."""
    return containers.launch(PREFIX, ("web3",), keys)["web3"]


@pytest.fixture(scope="session")
def app(place: Path) -> Path:
    """The app's repository, created by `demo/app-repo`."""
    repository = place / "git" / "app"
    subprocess.run((ROOT / "demo" / "app-repo", repository), check=True, timeout=60)
    return repository


@pytest.fixture(scope="session")
def app_url(app: Path) -> Iterator[str]:
    """The app's URL of the git protocol, as nix resolves refs of local paths differently."""
    with git_daemon(app.parent) as base:
        yield f"{base}/app"


@pytest.fixture(scope="session")
def stack(place: Path, hosts: dict[str, ContainerHost], keys: Path, app_url: str) -> Workspace:
    """The stack that all tests share, with nothing deployed yet."""
    made = Workspace.create(place / "main", Backend(state=place / "state"), app_url)
    made.init(hosts, (keys / "client").read_text())
    return made


@pytest.fixture
def workspace(stack: Workspace) -> Workspace:
    """The shared stack, with both hosts on v1."""
    stack.reset()
    return stack
