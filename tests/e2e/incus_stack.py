"""A stack whose hosts are Incus instances that the program creates, behind the test's proxy.

Tests inspect them with the `incus` client, which bypasses the proxy. Each module that uses this has
its own stack, and removes all of it.
"""

import json
import os
import shutil
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from harness import hosts as containers
from harness.command_result import CommandResult, Json
from harness.daemons.daemon_proxy import DaemonProxy
from harness.hosts import make_key
from harness.incus import Incus, own_prefix
from tests.e2e.host_state import Hosts
from tests.e2e.stack import ROOT, STACK, TIMEOUT, Backend, Workspace

PREFIX = own_prefix("flakeup-inc")
OWNER = f"flakeup/{STACK}"
"""The name in the owner key of the stack's instances, which has a random id too."""
REFERENCE = f"user.flakeup.used-by.{OWNER}/"
"""Prefix of the stack's references, which are properties of images."""
LISTING = "GET /1.0/instances?recursion=2"
UNCHANGED = {"unchanged": 16}
"""Stack, owner, release, fleet, build, image (two), web1's volume, and each host's four: itself,
instance, copy, switch."""
VOLUME = f"{PREFIX}-web1-data"
UP = ("up", "--yes", "--skip-preview")


@dataclass(frozen=True, slots=True, kw_only=True)
class IncusEnvironment:
    """A stack with web1 (root) and web2 (a user with sudo), and ways to inspect it."""

    stack: Workspace
    proxy: DaemonProxy
    incus: Incus
    pool: str

    def incus_config(self, host: str, /, **changes: object) -> Json:
        """A host's config with some keys of its `incus` changed."""
        return {"incus": {**self.stack.config["hosts"][host]["incus"], **changes}}

    def volumes(self) -> list[str]:
        """The names of the volumes of tests."""
        rows = json.loads(
            self.incus.call("storage", "volume", "list", self.pool, "--format", "json")
        )
        return [row["name"] for row in rows if row["name"].startswith(f"{PREFIX}-")
                and row["type"] == "custom"]  # fmt: skip

    def hosts(self, *names: str) -> Hosts:
        """Running hosts, by name."""
        return containers.existing(PREFIX, names or ("web1", "web2"), incus=self.incus)

    def instances(self) -> dict[str, dict[str, Any]]:
        """The tests' instances, by name without the prefix."""
        rows = json.loads(self.incus.call("list", f"^{PREFIX}-", "--format", "json"))
        return {row["name"].removeprefix(f"{PREFIX}-"): row for row in rows}

    def uuids(self) -> dict[str, str]:
        return {name: row["config"]["volatile.uuid"] for name, row in self.instances().items()}

    def images(self) -> dict[str, dict[str, str]]:
        """The properties of the images that the stack references, by fingerprint."""
        return {
            fingerprint: properties
            for fingerprint, properties in self.all_images().items()
            if any(key.startswith(REFERENCE) for key in properties)
        }

    def all_images(self) -> dict[str, dict[str, str]]:
        """The properties of all images, by fingerprint."""
        rows = json.loads(self.incus.call("image", "list", "--format", "json"))
        return {row["fingerprint"]: row["properties"] for row in rows}

    def by_hand(self, *words: str) -> None:
        """Change something with the client, as another user; the next test settles the stack."""
        self.stack.pristine = False
        self.incus.call(*words)

    def up(self, *words: str) -> CommandResult:
        """Run `pulumi up`, which must succeed."""
        result = self.stack.up(*words)
        assert result.code == 0, result.text
        return result

    def expect_no_change(self) -> None:
        """Check that another `up` only reads images, instances and the volume, once each."""
        self.proxy.reset()
        assert self.up().summary() == UNCHANGED
        assert sorted(self.proxy.requests()) == self.listing_requests

    @property
    def listing_requests(self) -> list[str]:
        """The requests of a run without changes."""
        project = f"project={self.incus.project}"
        volume = f"/1.0/storage-pools/{self.pool}/volumes/custom/{VOLUME}?{project}"
        return [f"GET /1.0/images?{project}", f"{LISTING}&{project}", f"GET {volume}"]

    def interrupt(self, request: str, number: int) -> None:
        """Interrupt an `up` at a request: SIGKILL for the whole engine, or Ctrl-C."""
        with self.stack.running(*UP) as engine:
            with self.proxy.hold(request) as step:
                step.wait(TIMEOUT)
                if number == signal.SIGKILL:
                    engine.kill()
                else:
                    os.killpg(engine.process.pid, number)
            if number != signal.SIGKILL:
                result = engine.wait()
                assert result.code != 0
                assert "Traceback" not in result.text
        self.stack.cancel()

    def clear(self) -> None:
        """Remove what is left, with the client."""
        for row in self.instances().values():
            self.incus.call("delete", "--force", row["name"])
        for fingerprint in self.images():
            self.incus.call("image", "delete", fingerprint)
        for name in self.volumes():
            self.incus.call("storage", "volume", "delete", self.pool, name)


def create_stack(folder: Path, app_url: str, proxy: DaemonProxy, root: Path | None) -> Workspace:
    """Create a stack without hosts; instances start from `root`, and authorize its key."""
    stack = Workspace.create(folder / "stack", Backend(state=folder / "state"), app_url)
    stack.prefix = ("env", f"INCUS_SOCKET={proxy.path}")
    key, flake = folder / "keys" / "client", str(stack.folder / "flake")
    make_key(key)
    stack._do(str(ROOT / "demo" / "base"), flake, str(root), f"{key}.pub")
    stack.init({}, key.read_text())
    return stack


def create_environment(folder: Path, app_url: str) -> Iterator[IncusEnvironment]:
    """Create a stack with two hosts that are not deployed yet."""
    incus = Incus.ready()
    folder.mkdir()
    daemon = Path(os.environ.get("INCUS_SOCKET") or _daemon())
    with DaemonProxy(folder / "incus", daemon) as proxy:
        stack = create_stack(folder, app_url, proxy, incus.root)
        profile = json.loads(incus.call("profile", "list", "--format", "json"))[0]
        pool = profile["devices"]["root"]["pool"]
        data = {"data": {"pool": pool, "path": "/srv/data", "protect": False}}
        web1, web2 = ({"name": f"{PREFIX}-{name}"} for name in ("web1", "web2"))
        stack.config |= {
            "incus": {"project": incus.project, "image": "base"},
            "hosts": {
                "web1": {"target": "incus", "incus": {**web1, "volumes": data}},
                "web2": {"target": "incus", "user": "deploy", "incus": web2},
            },
        }
        env = IncusEnvironment(stack=stack, proxy=proxy, incus=incus, pool=pool)
        env.clear()  # of an interrupted run
        try:
            yield env
        finally:
            stack.cancel()
            stack.pulumi("destroy", "--yes", "--skip-preview")
            env.clear()
            shutil.rmtree(folder)


def _daemon() -> str:
    return f"{os.environ.get('INCUS_DIR') or '/var/lib/incus'}/unix.socket"


@pytest.fixture(scope="module")
def env(place: Path, app_url: str, request: pytest.FixtureRequest) -> Iterator[IncusEnvironment]:
    """A stack for a module."""
    yield from create_environment(place / request.module.__name__.rpartition("_")[2], app_url)


@pytest.fixture
def two(env: IncusEnvironment) -> IncusEnvironment:
    """Both hosts are deployed, on v1."""
    env.stack.reset()
    env.proxy.reset()
    return env
