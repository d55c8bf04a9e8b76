"""The scenario of an injection: a host on OLD, a deployment of NEW, and the tools of faults."""

import asyncio
import json
import re
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any, Protocol

from components.pipeline.activation.attempt import Attempt
from harness.command_result import CommandResult, Json
from tests.e2e.stack import Engine
from tests.faults.host_shell import HostShell, in_phase
from tests.faults.host_snapshot import HostSnapshot
from tests.faults.host_under_test import FAST_ACTIVATION, HostUnderTest
from tests.faults.pipeline_driver import Deployment
from tests.faults.row import Row
from tests.faults.systems import OPTIONS


class RunningDeployment(Protocol):
    """A deployment in progress."""

    def wait(self) -> CommandResult:
        """Wait until it has finished."""


@dataclass(slots=True, kw_only=True)
class Scenario(ABC):
    """What a row's `inject` is given."""

    host: HostUnderTest
    row: Row
    seed: int
    before: HostSnapshot
    """The host before the deployment: `before.current` is OLD."""
    random: Random
    phases_before: int
    cleanup: ExitStack = field(default_factory=ExitStack)
    """What takes the fault away; closed once the injection is over and the host is idle."""
    other: str = ""
    """The system that somebody else has switched to meanwhile, if the row does that."""
    fault_time: float = 0.0
    """When the fault was injected, in seconds since 1970; 0 where NEW itself is the fault."""
    notes: list[str] = field(default_factory=list)

    @property
    def shell(self) -> HostShell:
        return self.host.shell

    @property
    def old(self) -> str:
        return self.before.current

    def reset_baseline(self) -> None:
        """Take what runs now as OLD: so far the row has only prepared the host."""
        self.before = self.shell.snapshot()
        self.phases_before = self.shell.phase_count()

    # --- deploying -------------------------------------------------------------------------

    @abstractmethod
    def deploying(
        self, system: str = "plain", **how: Any
    ) -> AbstractContextManager[RunningDeployment]:
        """A deployment of a system of `systems.OPTIONS`, in progress during the block."""

    def deploy(self, system: str = "plain", **how: Any) -> CommandResult:
        """Deploy a system, and wait for the result."""
        with self.deploying(system, **how) as deployment:
            return deployment.wait()

    @abstractmethod
    def redeploy(self) -> CommandResult:
        """Deploy again, without any fault."""

    @abstractmethod
    def repeat(self) -> tuple[CommandResult, bool]:
        """Deploy once more, with nothing to do; also returns whether the deployer saw it so."""

    @abstractmethod
    def new(self) -> str:
        """The system that the first deployment of this scenario deploys."""

    @abstractmethod
    def recorded(self) -> str:
        """The system that the deployer considers deployed."""

    # --- moments and faults ----------------------------------------------------------------

    def wait_for_phase(self, name: str, seconds: float = 40) -> None:
        self.shell.wait_until(in_phase(name, self.phases_before), seconds)

    def wait_for_state(self, *states: str, seconds: float = 40) -> None:
        self.shell.wait_for_state(self.before.attempt, *states, seconds=seconds)

    def sleep_random(self, least: float, most: float) -> None:
        """Sleep for a time that depends on the seed."""
        seconds = self.random.uniform(least, most)
        self.notes.append(f"after {seconds:.2f} s")
        time.sleep(seconds)

    def mark_fault(self) -> None:
        """Note that the fault is injected now."""
        self.fault_time = self.fault_time or time.time()

    def kill(self, pattern: str, signal: str = "KILL") -> None:
        """Send a signal to all processes on the host that match; there have to be some."""
        assert self.shell.kill(pattern, signal), f"no process for {signal}: {pattern}"
        self.mark_fault()
        self.notes.append(f"{signal} to {pattern}")

    def kill_within(self, seconds: float, condition: str, pattern: str, sign: str = "KILL") -> None:
        """Do so at a random moment up to `seconds` after a shell condition holds."""
        moment = self.random.uniform(0, seconds)
        hit = self.shell.kill_at(condition, moment, pattern, sign)
        assert hit, f"no process for {sign} after {moment:.2f} s: {pattern}"
        self.fault_time = self.fault_time or hit
        self.notes.append(f"{sign} to {pattern} after {moment:.2f} s")

    def kill_during_switch(self, seconds: float, pattern: str) -> None:
        """Do so up to `seconds` after `switch-to-configuration` has begun to stop units."""
        self.kill_within(seconds, in_phase("stop", self.phases_before), pattern)

    def remove_gc_root(self, path: str) -> None:
        """Remove a system's garbage collector root until the injection is over."""
        for name in (name for name, one in self.host.prebuilt.items() if one == path):
            link = f"/nix/var/nix/gcroots/faults-{name}"
            self.on_cleanup(f"ln -sfn {path} {link}")
            self.shell.run(f"rm {link}")

    def on_cleanup(self, script: str) -> None:
        """Run a script on the host once the injection is over."""
        self.cleanup.callback(self.shell.succeeds, script)


@dataclass(slots=True, kw_only=True)
class EngineScenario(Scenario):
    """`pulumi up` in the host's own stack."""

    _healthy: Json = field(default_factory=dict)
    """The options of NEW without the fault."""
    _deployments: int = 0
    needs_repair: bool = False
    """Whether the next `up` has to ask for a repair, as the engine took a commit for done."""

    def configure(
        self, system: str = "plain", *, activation: Json | None = None, **config: Any
    ) -> None:
        """Write the flake and the config for a system that has never been deployed.

        `activation` replaces some of its keys, `config` other keys of the stack's config.
        """
        self._deployments += 1
        stamp = {"extraText": f"{self.row.id} {self.seed} {self._deployments}"}
        options = {**_with_address(OPTIONS[system], self.host), **stamp}
        if "payloadPaths" in options:
            options["payloadSeed"] = stamp["extraText"]
        self._healthy = {**stamp}
        self.host.workspace.fleet(**{self.host.name: options})
        self.host.write_config(activation, **config)

    @contextmanager
    def deploying(self, system: str = "plain", **how: Any) -> Iterator[Engine]:
        self.configure(system, **how)
        with self.host.workspace.running("up", "--yes", "--skip-preview") as engine:
            yield engine

    def redeploy(self) -> CommandResult:
        self.host.workspace.fleet(**{self.host.name: self._healthy})
        self.host.write_config()
        result = self.host.workspace.up()
        if not self.needs_repair:
            return result
        repair = re.search(r"repair: pulumi up --replace '([^']+)'", result.text)
        assert result.code, f"no repair was asked for: {result.text}"
        assert repair, f"no repair was asked for: {result.text}"
        return self.host.workspace.up("--replace", repair[1])

    def repeat(self) -> tuple[CommandResult, bool]:
        result = self.host.workspace.up()
        return result, set(result.summary()) == {"unchanged"}

    def new(self) -> str:
        return self.host.evaluated()

    def recorded(self) -> str:
        return self.host.recorded()

    def cancel_on_cleanup(self) -> None:
        """Run `pulumi cancel` once the injection is over, as after any killed `up`."""

        def cancel() -> None:
            if self.host.workspace.cancel():
                self.notes.append("an empty .attrs file of the engine's state was removed")

        self.cleanup.callback(cancel)


@dataclass(slots=True, kw_only=True)
class PipelineScenario(Scenario):
    """The pipeline's own classes, with systems that were built before the run."""

    _new: str = ""
    _last: str = ""

    def choose_new(self, system: str) -> str:
        """Take the system of that name as NEW, or `other` if the host already runs it."""
        name = "other" if self.host.prebuilt[system] == self.old else system
        self.set_new(self.host.prebuilt[name])
        return self._new

    def set_new(self, path: str) -> None:
        """Take this store path as NEW."""
        self._new = self._last = path

    @contextmanager
    def deploying(
        self, system: str = "plain", *, pause: float = 0, activation: Json | None = None, **_: Any
    ) -> Iterator[Deployment]:
        run = self.host.deploy(self.choose_new(system), self.old, pause, activation)
        deployment = Deployment(run=run).start()
        try:
            yield deployment
        finally:
            deployment.wait()

    def leave_unconfirmed(self, system: str = "plain", **activation: Any) -> Attempt:
        """Bring the host to a system, and never confirm it; returns the attempt, which awaits that.

        `activation` replaces some of the keys of that name in the config.
        """
        driver = self.host.driver.with_activation({**FAST_ACTIVATION, **activation})
        attempt = driver.attempt(self.choose_new(system), self.old)
        state = asyncio.run(attempt.run())
        assert state == "awaiting-confirm", state
        return attempt

    def redeploy(self) -> CommandResult:
        current, plain = self.shell.snapshot().current, self.host.prebuilt["plain"]
        self._last = plain if current != plain else self.host.prebuilt["other"]
        return self.host.deploy(self._last, current, 0)()

    def repeat(self) -> tuple[CommandResult, bool]:
        result = self.host.deploy(self._last, self._last, 0)()
        return result, result.text.startswith("unchanged")

    def new(self) -> str:
        return self._new

    def recorded(self) -> str:
        return self._last


def _with_address(options: Json, host: HostUnderTest) -> Json:
    """The options, with the deployer's address where a fault needs it."""
    text = json.dumps(options).replace("@deployer@", host.deployer_address)
    found: Json = json.loads(text)
    return found
