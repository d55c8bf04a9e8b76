"""A host that the program makes itself, in an incusd of the run's own: rows F23.

An injection begins with nothing at all. NEW is an instance that runs the release; OLD is that
nobody serves it: there is no instance, or one that is not deployed to yet, with which the next
`up` goes on.
"""

import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, Final, Self

from harness.command_result import CommandResult, Json
from harness.daemons import incusd
from harness.daemons.incus_proxy import IncusProxy
from harness.daemons.incusd import Incusd
from harness.incus import ROOT, HarnessError, Incus
from tests.e2e.host_state import profile, system
from tests.e2e.incus_stack import PREFIX, IncusEnvironment, begun
from tests.e2e.stack import Workspace
from tests.faults.row import Ending, Row
from tests.faults.target import Target, TargetScene, differences
from tests.faults.vector import TERMINAL

PARTS: Final = ("pulumi", "nix", "incus", "image")
HOST: Final = "web1"
NAME: Final = f"{PREFIX}-{HOST}"
POOL: Final = "pool"
VOLUME: Final = f"{NAME}-data"
PATIENCE: Final = 90.0
"""Seconds in which what a killed deployer has begun on the host comes to an end."""
_STATE: Final = "cat /nix/var/flakeup/current/state 2>/dev/null || true"


@dataclass(slots=True, kw_only=True)
class InstanceScene(TargetScene):
    """One injection into the first `up` of a host."""

    daemon: Incusd
    env: IncusEnvironment

    def host(self, **incus: object) -> Json:
        """The hosts of the config, with some keys of the instance changed."""
        return {HOST: {**self.workspace.config["hosts"][HOST], **self.env.like(HOST, **incus)}}


@dataclass(slots=True, kw_only=True)
class Instances(Target):
    """The stack and its daemon."""

    daemon: Incusd
    proxy: IncusProxy
    env: IncusEnvironment

    @classmethod
    @contextmanager
    def ready(cls, parts: Mapping[str, Any]) -> Iterator[Self]:
        """A daemon with nothing in it, and a stack with one host that is not made yet."""
        folder = Path(tempfile.mkdtemp(prefix="flakeup-f23-"))
        try:
            with (
                incusd.started() as daemon,
                IncusProxy(folder / "sock", daemon.socket) as proxy,
            ):
                app = folder / "app"
                subprocess.run((ROOT / "demo" / "app-repo", app), check=True, timeout=60)
                root = Path(parts["image"]["root"])
                stack = begun(folder, f"git+file://{app}", proxy, root)
                stack.config |= _config()
                incus = Incus(project="default", image="", environment=daemon.environment)
                env = IncusEnvironment(stack=stack, proxy=proxy, incus=incus, pool=POOL)
                yield cls(name="incus", daemon=daemon, proxy=proxy, env=env)
        finally:
            shutil.rmtree(folder)

    @property
    def stack(self) -> Workspace:
        return self.env.stack

    # --- one injection ---------------------------------------------------------------------

    def scene(self, row: Row, seed: int) -> InstanceScene:
        self.proxy.forget()
        found = self._left()
        assert not found, f"before the fault: {'; '.join(found)}"
        return InstanceScene(
            workspace=self.stack,
            proxy=self.proxy,
            daemon=self.daemon,
            row=row,
            seed=seed,
            random=Random(f"{row.id}:{seed}"),  # noqa: S311 it is to be repeated
            new=("v1", "v2")[seed % 2],
            env=self.env,
        )

    def watching(self, scene: InstanceScene) -> AbstractContextManager[object]:
        """Nobody asks a host that there was not before."""
        del scene
        return nullcontext()

    def ending(self, scene: InstanceScene, troubles: list[str]) -> tuple[Ending, float]:
        seconds = time.monotonic() - scene.fault if scene.fault else 0.0
        troubles += self._more_than_one()
        answer = self._rest()
        if answer == _says(scene.new):
            return Ending.NEW, seconds
        return (Ending.BETWEEN if answer else Ending.OLD), 0.0

    def mend(self, scene: InstanceScene, ended: Ending) -> CommandResult:
        del ended
        self.stack.write(appRef=scene.new)
        return self.stack.up()

    def repeat(self, scene: InstanceScene) -> CommandResult:
        del scene
        return self.stack.up()

    def amiss(self, scene: InstanceScene) -> list[str]:
        """One instance on the release, its image and its volume: and nothing else at all."""
        found = differences("instances", self.daemon.instances(), [NAME])
        (host,) = self.env.hosts(HOST).values()
        found += differences("it answers", host.http(), _says(scene.new))
        recorded = self.stack.recorded().get(HOST)
        found += differences("it runs", system(host), recorded)
        found += differences("it boots", profile(host), recorded)
        marked = sorted(self.env.images())
        found += differences("images", sorted(self.daemon.images()), marked)
        found += differences("images of the stack", len(marked), 1)
        return found + differences("volumes", self._volumes(), [VOLUME])

    def there(self) -> Json:
        rows = self.daemon.ask("GET", "/1.0/instances?recursion=1")
        return {
            "instances": {
                row["name"]: (row["config"]["volatile.uuid"], row["status"]) for row in rows
            },
            "images": self.daemon.images(),
            "volumes": self._volumes(),
            "units": {n: host.started() for n, host in self.env.hosts(HOST).items()},
        }

    def leave(self, scene: InstanceScene) -> list[str]:
        """The stack is destroyed: nothing is left of it."""
        del scene
        result = self.stack.pulumi("destroy", "--yes", "--skip-preview")
        found = [f"destroyed, and yet: {result.text[-1000:]}"] if result.code else []
        return found + [f"destroyed, and yet: {text}" for text in self._left()]

    def reset(self) -> None:
        """Nothing is there any more, and the state knows it."""
        self.proxy.forget()
        self.stack.cancel()
        self.stack.write(appRef="v1")
        self.stack.pulumi("destroy", "--yes", "--skip-preview", "--refresh")
        self.daemon.clear()
        for name in self._volumes():
            self.daemon.ask("DELETE", f"/1.0/storage-pools/{POOL}/volumes/custom/{name}")
        assert not (resources := self.stack.state().get("resources")), f"still there: {resources}"

    # --- looking ---------------------------------------------------------------------------

    def _left(self) -> list[str]:
        found = differences("instances", self.daemon.instances(), [])
        found += differences("images", sorted(self.daemon.images()), [])
        return found + differences("volumes", self._volumes(), [])

    def _more_than_one(self) -> list[str]:
        """What a cut may leave is of the stack, and there once."""
        found = [name for name in self.daemon.instances() if name != NAME]
        many = len(self.daemon.images()) > 1 or bool(found)
        return [f"too much is there: {found}, {sorted(self.daemon.images())}"] if many else []

    def _volumes(self) -> list[str]:
        rows = self.daemon.ask("GET", f"/1.0/storage-pools/{POOL}/volumes?recursion=1")
        return sorted(row["name"] for row in rows if row["type"] == "custom")

    def _rest(self) -> str:
        """What the host answers once nothing is under way on it; empty where it does not."""
        end = time.monotonic() + PATIENCE
        while self._attempt() not in TERMINAL:
            assert time.monotonic() < end, f"still {self._attempt()} after {PATIENCE:g} s"
            time.sleep(0.5)
        if self._status() != "Running":
            return ""
        try:
            (host,) = self.env.hosts(HOST).values()
            return host.http(timeout=1)
        except HarnessError:
            return ""

    def _status(self) -> str:
        return str(self.env.instances().get(HOST, {}).get("status", ""))

    def _attempt(self) -> str:
        """Where the host's attempt stands; empty where there is none."""
        if self._status() != "Running":
            return ""
        argv = ("exec", NAME, "-T", "--", "sh", "-c", _STATE)
        return self.env.incus.attempt(*argv).stdout.strip()


def _config() -> Json:
    data = {"pool": POOL, "path": "/srv/data", "protect": False}
    incus = {"name": NAME, "volumes": {"data": data}}
    return {
        "incus": {"project": "default", "image": "base"},
        "hosts": {HOST: {"target": "incus", "incus": incus}},
    }


def _says(release: str) -> str:
    return f"app {release} on {HOST}"


def missing(parts: Mapping[str, Any]) -> str:
    """Why its rows cannot be played here; empty where they can."""
    for name in PARTS:
        if parts[name]["state"] != "ready":
            return f"no {name}: {parts[name]['reason']}; {parts[name]['remedy']}"
    return incusd.why_not(dict(parts))
