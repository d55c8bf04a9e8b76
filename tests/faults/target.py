"""A stack that creates what it deploys to, on a daemon of the run's own.

In an injection OLD is what there is before, NEW the release of the scenario. Whatever the fault,
the next `up` converges, another one changes nothing, and exactly what should exist exists: no one
else uses the daemon, so everything in it counts.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from random import Random
from subprocess import SubprocessError
from typing import Any, Final, Protocol

from harness.command_result import CommandResult, Json
from harness.daemons.daemon_proxy import DaemonProxy
from harness.incus import HarnessError
from harness.unix_http import ApiError
from tests.e2e.stack import Engine, Workspace
from tests.faults.row import Outcome, Row
from tests.faults.run import Result, check_report, diagnostics_of

UP: Final = ("up", "--yes", "--skip-preview")
ERRORS: Final = (
    AssertionError,
    HarnessError,
    ApiError,
    OSError,
    SubprocessError,
    ValueError,
)


class Daemon(Protocol):
    """The run's own daemon: one of `harness.daemons`."""

    @property
    def runs(self) -> bool:
        """Whether it is running."""

    def kill(self, number: int = ...) -> None:
        """Send it a signal, and wait until it has exited."""

    def start(self) -> None:
        """Start it, and wait until it answers."""


@dataclass(slots=True, kw_only=True)
class TargetScenario:
    """An injection: what a row's `inject` is given."""

    workspace: Workspace
    proxy: DaemonProxy
    daemon: Daemon
    row: Row
    seed: int
    random: Random
    new: str
    """The release to deploy."""
    cleanup: ExitStack = field(default_factory=ExitStack)
    """What takes the fault away; closed once the injection is over."""
    began: float = field(default_factory=time.monotonic)
    fault_time: float = 0.0
    """When the fault was injected; 0 where the config itself is the fault."""
    request: str = ""
    """The request of the deployer at which the fault was injected."""
    upload_was_killed: bool = False
    """Whether the deployer was killed while it sent an image."""
    notes: list[str] = field(default_factory=list)

    @contextmanager
    def deploying(self, **config: Any) -> Iterator[Engine]:
        """An `up` of the new release, with some keys of the config changed."""
        self.workspace.write(**{"appRef": self.new, **config})
        with self.workspace.running(*UP) as engine:
            yield engine

    def deploy(self, **config: Any) -> CommandResult:
        with self.deploying(**config) as engine:
            return engine.wait()

    def wait_for_one_of(self, *requests: str) -> None:
        """Wait until the deployer sends the request that is this seed's turn."""
        self.request = requests[self.seed % len(requests)]
        self.notes.append(self.request)
        self.proxy.delay(self.request, 0).wait(90)

    def sleep_random(self, least: float, most: float) -> None:
        """Sleep for a time that depends on the seed."""
        seconds = self.random.uniform(least, most)
        self.notes.append(f"after {seconds:.2f} s")
        time.sleep(seconds)

    def mark_fault(self) -> None:
        """Note that the fault is injected now."""
        self.fault_time = self.fault_time or time.monotonic()

    def restart_daemon(self, number: int, seconds: float = 0.0) -> None:
        """Kill the daemon by a signal, and start it again after some seconds."""
        with self.proxy.down():
            self.mark_fault()
            self.daemon.kill(number)
            time.sleep(seconds)
            self.daemon.start()

    def cancel_on_cleanup(self) -> None:
        """Run `pulumi cancel` once the injection is over, as after any killed `up`."""

        def cancel() -> None:
            if self.workspace.cancel():
                self.notes.append("an empty .attrs file of the engine's state was removed")

        self.cleanup.callback(cancel)


@dataclass(slots=True, kw_only=True)
class Target(ABC):
    """The daemon and the stack, and how to look at both without the deployer."""

    name: str
    daemon: Daemon
    unusable: str = ""
    """Why no further row may run here; empty while it is usable."""

    def run_injection(self, row: Row, seed: int) -> Result:
        """Inject a row, and verify the outcome."""
        began = time.monotonic()
        problems: list[str] = []
        scenario, outcome, seconds = None, Outcome.BETWEEN, 0.0
        try:
            assert not self.unusable, f"unusable: {self.unusable}"
            scenario = self.scenario(row, seed)
            with self.observing(scenario):
                result = _inject(scenario, problems)
                outcome, seconds = self.outcome(scenario, problems)
            problems += _verify(row, result, outcome, seconds)
            self._verify_convergence(scenario, outcome, problems)
        except ERRORS as error:
            problems.append(f"{type(error).__name__}: {error}")
        if problems and not self.unusable:
            self._recover(scenario, problems)
        return Result(
            id=row.id,
            seed=seed,
            host=self.name,
            expected=row.expected,
            outcome=outcome,
            seconds=seconds,
            ok=not problems,
            detail="\n".join((*problems, *(scenario.notes if scenario else ()))),
            total=time.monotonic() - began,
        )

    def _verify_convergence(self, scenario: Any, outcome: Outcome, problems: list[str]) -> None:
        redeployed = self.redeploy(scenario, outcome)
        if redeployed.code:
            found = [f"the next `up` failed: {diagnostics_of(redeployed)}"]
        else:
            found = self.deviations(scenario)
        before = self.inventory()
        again = self.repeat(scenario)
        if again.code or set(again.summary()) != {"unchanged"}:
            found.append(f"another `up` was not a no-op: {diagnostics_of(again)}")
        if (after := self.inventory()) != before:
            changed = [f"{key}: {before[key]} → {after[key]}" for key in before
                       if before[key] != after[key]]  # fmt: skip
            found.append(f"another `up` changed something: {'; '.join(changed)}")
        found += self.finish(scenario)
        problems += [f"after the fault was fixed: {text}" for text in found]

    def _recover(self, scenario: TargetScenario | None, problems: list[str]) -> None:
        """Restore the initial state for the next row."""
        try:
            if scenario:
                scenario.cleanup.close()
            if not self.daemon.runs:
                self.daemon.start()
            self.reset()
        except ERRORS as error:
            self.unusable = str(error)
            problems.append(f"recovery: {error}")

    @abstractmethod
    def scenario(self, row: Row, seed: int) -> Any:
        """Begin an injection, after checking that everything is in its initial state."""

    @abstractmethod
    def observing(self, scenario: Any) -> AbstractContextManager[object]:
        """Observe the target during the block, which injects the fault."""

    @abstractmethod
    def outcome(self, scenario: Any, problems: list[str]) -> tuple[Outcome, float]:
        """The outcome once nothing is in progress, and the seconds that it took."""

    @abstractmethod
    def redeploy(self, scenario: Any, outcome: Outcome) -> CommandResult:
        """Run the next `up`, without the fault."""

    @abstractmethod
    def repeat(self, scenario: Any) -> CommandResult:
        """Run another `up`."""

    @abstractmethod
    def deviations(self, scenario: Any) -> list[str]:
        """What is not exactly as it should be after an `up` that succeeded."""

    @abstractmethod
    def inventory(self) -> Json:
        """Everything that exists in the daemon, by kind."""

    @abstractmethod
    def finish(self, scenario: Any) -> list[str]:
        """End an injection; returns what was wrong."""

    @abstractmethod
    def reset(self) -> None:
        """Restore the state that an injection begins with, whatever there is now."""


def _inject(scenario: TargetScenario, problems: list[str]) -> CommandResult | None:
    inject: Callable[[Any], CommandResult | None] = scenario.row.inject
    try:
        with scenario.cleanup:
            return inject(scenario)
    except ERRORS as error:
        problems.append(f"during the injection: {type(error).__name__}: {error}")
        return None
    finally:
        scenario.proxy.reset()


def _verify(row: Row, result: CommandResult | None, outcome: Outcome, seconds: float) -> list[str]:
    problems = []
    if outcome is Outcome.BETWEEN or row.expected not in {outcome, Outcome.EITHER}:
        problems.append(f"it ended {outcome}, not {row.expected}")
        problems += [f"the deployer printed: {diagnostics_of(result)}"] if result else []
    if result:
        problems += check_report(row, result, outcome)
        if "Traceback" in result.text:
            problems.append(f"a traceback: {result.text[-2000:]}")
    if seconds > row.within:
        problems.append(f"it took {seconds:.1f} s, more than {row.within:g} s")
    return problems


def differences(what: str, found: Any, wanted: Any) -> list[str]:
    """A problem if something is not what it should be, else nothing."""
    return [] if found == wanted else [f"{what}: {found}, not {wanted}"]
