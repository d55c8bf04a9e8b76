"""One injection: a host on a known OLD, a deployment of NEW, and what a row may do meanwhile."""

import json
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any, Protocol

from harness.command_result import CommandResult, Json
from tests.e2e.stack import Engine
from tests.faults.host_tools import Grip, in_phase
from tests.faults.machine import Deployment
from tests.faults.row import Row
from tests.faults.site import Site
from tests.faults.systems import OPTIONS
from tests.faults.vector import Vector


class Going(Protocol):
    """A deployment under way."""

    def end(self) -> CommandResult:
        """Wait for its end."""


@dataclass(slots=True, kw_only=True)
class Scene(ABC):
    """What a row's `play` is given."""

    site: Site
    row: Row
    seed: int
    begin: Vector
    """The host before: `begin.current` is OLD."""
    random: Random
    phases: int
    undo: ExitStack = field(default_factory=ExitStack)
    """Called when the play is over and the host rests: what takes the harm away."""
    fault: float = 0.0
    """When the harm was done, seconds since 1970; 0 where the configuration is the harm."""
    notes: list[str] = field(default_factory=list)

    @property
    def grip(self) -> Grip:
        return self.site.grip

    @property
    def old(self) -> str:
        return self.begin.current

    def become_old(self) -> None:
        """What runs now is OLD: the row has only prepared so far."""
        self.begin = self.grip.look()
        self.phases = self.grip.phases()

    # --- deploying -------------------------------------------------------------------------

    @abstractmethod
    def going(self, system: str = "plain", **how: Any) -> AbstractContextManager[Going]:
        """A deployment of a system (`systems.OPTIONS`) that runs beside the block."""

    def deploy(self, system: str = "plain", **how: Any) -> CommandResult:
        """Deploy a system, to the end."""
        with self.going(system, **how) as deployment:
            return deployment.end()

    @abstractmethod
    def mend(self) -> CommandResult:
        """Deploy again, without any fault."""

    @abstractmethod
    def repeat(self) -> tuple[CommandResult, bool]:
        """Deploy once more: there is nothing to do. Whether the deployer saw it so."""

    @abstractmethod
    def new(self) -> str:
        """The system that the first deployment of this scene meant."""

    @abstractmethod
    def confirmed(self) -> str:
        """The system that the deployer holds for deployed."""

    # --- moments and harm ------------------------------------------------------------------

    def at_phase(self, name: str, seconds: float = 40) -> None:
        self.grip.until(in_phase(name, self.phases), seconds)

    def at_state(self, *states: str, seconds: float = 40) -> None:
        self.grip.until_state(self.begin.attempt, *states, seconds=seconds)

    def wait(self, least: float, most: float) -> float:
        """Sleep for a time that the seed decides; gives the seconds."""
        seconds = self.random.uniform(least, most)
        self.notes.append(f"after {seconds:.2f} s")
        time.sleep(seconds)
        return seconds

    def mark(self) -> None:
        """The harm is done now."""
        self.fault = self.fault or time.time()

    def kill(self, pattern: str, signal: str = "KILL") -> None:
        """Send a signal to all on the host whose arguments match: there have to be some."""
        assert self.grip.kill(pattern, signal), f"nothing there for {signal}: {pattern}"
        self.mark()
        self.notes.append(f"{signal} to {pattern}")

    def kill_within(self, seconds: float, condition: str, pattern: str, sign: str = "KILL") -> None:
        """The same at a moment that the seed decides, up to `seconds` after a shell condition."""
        moment = self.random.uniform(0, seconds)
        hit = self.grip.kill_at(condition, moment, pattern, sign)
        assert hit, f"nothing there for {sign} after {moment:.2f} s: {pattern}"
        self.fault = self.fault or hit
        self.notes.append(f"{sign} to {pattern} after {moment:.2f} s")

    def kill_in_switch(self, seconds: float, pattern: str) -> None:
        """The same, up to `seconds` after `switch-to-configuration` has begun to change things."""
        self.kill_within(seconds, in_phase("stop", self.phases), pattern)

    def unroot(self, path: str) -> None:
        """Take a system out of the stock's garbage collection roots until the play is over."""
        for name in (name for name, one in self.site.stock.items() if one == path):
            link = f"/nix/var/nix/gcroots/faults-{name}"
            self.later(f"ln -sfn {path} {link}")
            self.grip.sh(f"rm {link}")

    def later(self, script: str) -> None:
        """Run a script on the host when the play is over."""
        self.undo.callback(self.grip.tries, script)


@dataclass(slots=True, kw_only=True)
class EngineScene(Scene):
    """`pulumi up` in the host's own stack."""

    _good: Json = field(default_factory=dict)
    _turn: int = 0

    def configure(self, system: str = "plain", *, times: Json | None = None, **config: Any) -> None:
        """Write the flake and the config for a system that no one has deployed yet.

        `times` replaces some of the times, `config` other keys of the stack's config.
        """
        self._turn += 1
        stamp = {"extraText": f"{self.row.id} {self.seed} {self._turn}"}
        options = {**_filled(OPTIONS[system], self.site), **stamp}
        if "payloadPaths" in options:
            options["payloadSeed"] = stamp["extraText"]
        # What makes it new stays when it is mended, and the harm goes.
        self._good = {**stamp}
        self.site.workspace.fleet(**{self.site.host.name: options})
        self.site.write(times, **config)

    @contextmanager
    def going(self, system: str = "plain", **how: Any) -> Iterator[Engine]:
        self.configure(system, **how)
        with self.site.workspace.running("up", "--yes", "--skip-preview") as engine:
            yield engine

    def mend(self) -> CommandResult:
        self.site.workspace.fleet(**{self.site.host.name: self._good})
        self.site.write()
        return self.site.workspace.up()

    def repeat(self) -> tuple[CommandResult, bool]:
        result = self.site.workspace.up()
        return result, set(result.summary()) == {"unchanged"}

    def new(self) -> str:
        return self.site.evaluated()

    def confirmed(self) -> str:
        return self.site.recorded()

    def cancel(self) -> None:
        """What a person does after an `up` that was killed, before the next one."""

        def cancel() -> None:
            if self.site.workspace.cancel():
                self.notes.append("an empty .attrs file beside the engine's state was removed")

        self.undo.callback(cancel)


@dataclass(slots=True, kw_only=True)
class ClassesScene(Scene):
    """The program's classes, with systems that were built before."""

    _new: str = ""
    _last: str = ""

    def choose(self, system: str) -> str:
        """The system of that name, or `other` where the host runs it already; it is NEW now."""
        name = "other" if self.site.stock[system] == self.old else system
        self.meant(self.site.stock[name])
        return self._new

    def meant(self, path: str) -> None:
        """This path is NEW."""
        self._new = self._last = path

    @contextmanager
    def going(
        self, system: str = "plain", *, pause: float = 0, times: Json | None = None, **_: Any
    ) -> Iterator[Deployment]:
        work = self.site.deploy(self.choose(system), self.old, pause, times)
        deployment = Deployment(work=work).start()
        try:
            yield deployment
        finally:
            deployment.end()

    def mend(self) -> CommandResult:
        here = self.grip.look().current
        self._last = self.site.stock["plain" if here != self.site.stock["plain"] else "other"]
        return self.site.deploy(self._last, here, 0)()

    def repeat(self) -> tuple[CommandResult, bool]:
        result = self.site.deploy(self._last, self._last, 0)()
        return result, result.text.startswith("unchanged")

    def new(self) -> str:
        return self._new

    def confirmed(self) -> str:
        return self._last


def _filled(options: Json, site: Site) -> Json:
    """The options, with the deployer's address where a fault asks for it."""
    text = json.dumps(options).replace("@deployer@", site.deployer)
    found: Json = json.loads(text)
    return found
