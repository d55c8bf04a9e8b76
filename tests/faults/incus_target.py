"""A host that the program creates in an incusd of the run's own: rows F23.

An injection begins with an empty daemon. NEW is an instance that runs the release; OLD means that
nothing serves it: there is no instance, or one without a deployment that the next `up` completes.
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
from harness.daemons.daemon_proxy import DaemonProxy
from harness.daemons.incusd import Incusd
from harness.incus import ROOT, HarnessError, Incus
from tests.e2e.host_state import profile, system
from tests.e2e.incus_stack import PREFIX, IncusEnvironment, create_stack
from tests.e2e.stack import Workspace
from tests.faults.host_snapshot import TERMINAL
from tests.faults.row import Outcome, Row
from tests.faults.target import Target, TargetScenario, differences

PARTS: Final = ("pulumi", "nix", "incus", "image")
HOST: Final = "web1"
NAME: Final = f"{PREFIX}-{HOST}"
POOL: Final = "pool"
VOLUME: Final = f"{NAME}-data"
TIMEOUT: Final = 90.0
"""Seconds in which an attempt that a killed deployer has started on the host has to end."""
_STATE: Final = "cat /nix/var/flakeup/current/state 2>/dev/null || true"


@dataclass(slots=True, kw_only=True)
class InstanceScenario(TargetScenario):
    """An injection into the first `up` of a host."""

    daemon: Incusd
    env: IncusEnvironment

    def hosts_config(self, **incus: object) -> Json:
        """The `hosts` of the config, with some keys of the instance changed."""
        return {
            HOST: {**self.workspace.config["hosts"][HOST], **self.env.incus_config(HOST, **incus)}
        }


@dataclass(slots=True, kw_only=True)
class InstanceTarget(Target):
    """The stack and its daemon."""

    daemon: Incusd
    proxy: DaemonProxy
    env: IncusEnvironment

    @classmethod
    @contextmanager
    def start(cls, parts: Mapping[str, Any]) -> Iterator[Self]:
        """Start an empty daemon, and a stack with one host that is not created yet."""
        folder = Path(tempfile.mkdtemp(prefix="flakeup-f23-"))
        try:
            with (
                incusd.started() as daemon,
                DaemonProxy(folder / "sock", daemon.socket) as proxy,
            ):
                app = folder / "app"
                argv = (ROOT / "demo" / "app-repo", app)
                subprocess.run(argv, check=True, timeout=60, stdout=subprocess.DEVNULL)
                root = Path(parts["image"]["root"])
                stack = create_stack(folder, f"git+file://{app}", proxy, root)
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

    def scenario(self, row: Row, seed: int) -> InstanceScenario:
        self.proxy.reset()
        found = self._leftovers()
        assert not found, f"before the fault: {'; '.join(found)}"
        return InstanceScenario(
            workspace=self.stack,
            proxy=self.proxy,
            daemon=self.daemon,
            row=row,
            seed=seed,
            random=Random(f"{row.id}:{seed}"),  # noqa: S311 it has to be repeatable
            new=("v1", "v2")[seed % 2],
            env=self.env,
        )

    def observing(self, scenario: InstanceScenario) -> AbstractContextManager[object]:
        """Nothing to observe: the host does not exist before."""
        del scenario
        return nullcontext()

    def outcome(self, scenario: InstanceScenario, problems: list[str]) -> tuple[Outcome, float]:
        seconds = time.monotonic() - scenario.fault_time if scenario.fault_time else 0.0
        problems += self._extra_objects()
        answer = self._answer_when_idle()
        if answer == _answer_of(scenario.new):
            return Outcome.NEW, seconds
        return (Outcome.BETWEEN if answer else Outcome.OLD), 0.0

    def redeploy(self, scenario: InstanceScenario, outcome: Outcome) -> CommandResult:
        del outcome
        self.stack.write(appRef=scenario.new)
        return self.stack.up()

    def repeat(self, scenario: InstanceScenario) -> CommandResult:
        del scenario
        return self.stack.up()

    def deviations(self, scenario: InstanceScenario) -> list[str]:
        """There are one instance on the release, its image, its volume, and nothing else."""
        found = differences("instances", self.daemon.instances(), [NAME])
        (host,) = self.env.hosts(HOST).values()
        found += differences("it answers", host.http(), _answer_of(scenario.new))
        recorded = self.stack.recorded().get(HOST)
        found += differences("it runs", system(host), recorded)
        found += differences("it boots", profile(host), recorded)
        marked = sorted(self.env.images())
        found += differences("images", sorted(self.daemon.images()), marked)
        found += differences("images of the stack", len(marked), 1)
        return found + differences("volumes", self._volumes(), [VOLUME])

    def inventory(self) -> Json:
        rows = self.daemon.request("GET", "/1.0/instances?recursion=1")
        return {
            "instances": {
                row["name"]: (row["config"]["volatile.uuid"], row["status"]) for row in rows
            },
            "images": self.daemon.images(),
            "volumes": self._volumes(),
            "units": {n: host.started() for n, host in self.env.hosts(HOST).items()},
        }

    def finish(self, scenario: InstanceScenario) -> list[str]:
        """Destroy the stack, and check that nothing is left."""
        del scenario
        result = self.stack.pulumi("destroy", "--yes", "--skip-preview")
        found = [f"destroy failed: {result.text[-1000:]}"] if result.code else []
        return found + [f"after destroy: {text}" for text in self._leftovers()]

    def reset(self) -> None:
        """Remove everything, from the daemon and from the state."""
        self.proxy.reset()
        self.stack.cancel()
        self.stack.write(appRef="v1")
        self.stack.pulumi("destroy", "--yes", "--skip-preview", "--refresh")
        self.daemon.clear()
        for name in self._volumes():
            self.daemon.request("DELETE", f"/1.0/storage-pools/{POOL}/volumes/custom/{name}")
        assert not (resources := self.stack.state().get("resources")), f"still there: {resources}"

    # --- observing -------------------------------------------------------------------------

    def _leftovers(self) -> list[str]:
        found = differences("instances", self.daemon.instances(), [])
        found += differences("images", sorted(self.daemon.images()), [])
        return found + differences("volumes", self._volumes(), [])

    def _extra_objects(self) -> list[str]:
        """Check that an interrupted `up` left nothing but at most one instance and one image."""
        found = [name for name in self.daemon.instances() if name != NAME]
        many = len(self.daemon.images()) > 1 or bool(found)
        return [f"more than expected: {found}, {sorted(self.daemon.images())}"] if many else []

    def _volumes(self) -> list[str]:
        rows = self.daemon.request("GET", f"/1.0/storage-pools/{POOL}/volumes?recursion=1")
        return sorted(row["name"] for row in rows if row["type"] == "custom")

    def _answer_when_idle(self) -> str:
        """What the host answers once it is idle; empty if it does not answer."""
        end = time.monotonic() + TIMEOUT
        while self._attempt() not in TERMINAL:
            assert time.monotonic() < end, f"still {self._attempt()} after {TIMEOUT:g} s"
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
        """The state of the host's latest attempt; empty if there is none."""
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


def _answer_of(release: str) -> str:
    return f"app {release} on {HOST}"


def why_unavailable(parts: Mapping[str, Any]) -> str:
    """Why this machine cannot run these rows; empty if it can."""
    for name in PARTS:
        if parts[name]["state"] != "ready":
            return f"no {name}: {parts[name]['reason']}; {parts[name]['remedy']}"
    return incusd.why_not(dict(parts))
