"""Injections into one stack of all hosts: canary, waves, and a host that is down (F15)."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Final, Self

from harness.command_result import CommandResult, Json
from harness.incus import HarnessError
from tests.e2e.stack import Backend, Engine, Workspace
from tests.faults.host_snapshot import HostSnapshot
from tests.faults.host_under_test import FAST_ACTIVATION, HostUnderTest
from tests.faults.row import Outcome, Row
from tests.faults.run import Result, diagnostics_of, wait_until_idle
from tests.faults.systems import OPTIONS

ROLLOUT: Final[Json] = {"canary": 1, "waves": [2]}
"""One host, then pairs."""


@dataclass(slots=True, kw_only=True)
class FleetScenario:
    """An injection into a deployment of all hosts: what a row's `inject` is given."""

    hosts: dict[str, HostUnderTest]
    workspace: Workspace
    row: Row
    seed: int
    before: dict[str, HostSnapshot]
    random: Random
    cleanup: ExitStack = field(default_factory=ExitStack)
    untouched: tuple[str, ...] = ()
    """Hosts that must not be touched; the row sets this and the next two."""
    new: tuple[str, ...] = ()
    """Hosts that have to end on NEW."""
    old: tuple[str, ...] = ()
    """Hosts that have to end on OLD; those in none of the three may end on either."""

    @property
    def names(self) -> list[str]:
        return list(self.hosts)

    def configure(self, bad: Mapping[str, str] | None = None, rollout: Json | None = None) -> None:
        """Write a release that is new on all hosts; `bad` names the systems of some of them."""
        stamp = {"extraText": f"{self.row.id} {self.seed}"}
        fleet = {name: {**OPTIONS[(bad or {}).get(name, "plain")], **stamp} for name in self.names}
        self.workspace.fleet(**fleet)
        self.workspace.write(appRef="v1", activation=FAST_ACTIVATION, rollout=rollout or ROLLOUT)

    @contextmanager
    def deploying(
        self, bad: Mapping[str, str], *options: str, rollout: Json | None = None
    ) -> Iterator[Engine]:
        self.configure(bad, rollout)
        with self.workspace.running("up", "--yes", "--skip-preview", *options) as engine:
            yield engine

    def deploy(
        self, bad: Mapping[str, str], *options: str, rollout: Json | None = None
    ) -> CommandResult:
        with self.deploying(bad, *options, rollout=rollout) as engine:
            return engine.wait()


@dataclass(slots=True, kw_only=True)
class Fleet:
    """All hosts in one stack."""

    hosts: dict[str, HostUnderTest]
    workspace: Workspace

    @classmethod
    def create(cls, hosts: Sequence[HostUnderTest], folder: Path, url: str, key: Path) -> Self:
        """Create the stack, and deploy it for the first time."""
        workspace = Workspace.create(folder, Backend(state=folder / "state"), url)
        workspace.init({host.name: host.container for host in hosts}, key.read_text())
        workspace.write(appRef="v1", activation=FAST_ACTIVATION, rollout=ROLLOUT)
        result = workspace.up()
        assert result.code == 0, result.text
        return cls(hosts={host.name: host for host in hosts}, workspace=workspace)

    def run_injection(self, row: Row, seed: int) -> Result:
        """Inject a row into the fleet, and verify the outcome of each host."""
        began = time.monotonic()
        problems: list[str] = []
        try:
            scenario = self._scenario(row, seed)
            result = self._inject(scenario, problems)
            _verify(
                scenario,
                result,
                {n: wait_until_idle(host) for n, host in self.hosts.items()},
                problems,
            )
            self._verify_convergence(scenario, problems)
        except (AssertionError, HarnessError, OSError, ValueError) as error:
            problems.append(f"{type(error).__name__}: {error}")
        between = any(text.startswith("between") for text in problems)
        return Result(
            id=row.id,
            seed=seed,
            host="all",
            expected=row.expected,
            outcome=Outcome.BETWEEN if between else Outcome.EACH,
            seconds=0.0,
            ok=not problems,
            detail="\n".join(problems),
            total=time.monotonic() - began,
        )

    def _scenario(self, row: Row, seed: int) -> FleetScenario:
        before = {name: host.shell.snapshot() for name, host in self.hosts.items()}
        found = [text for name, host in self.hosts.items() for text in host.problems(before[name])]
        assert not found, f"before the fault: {'; '.join(found)}"
        return FleetScenario(
            hosts=self.hosts,
            workspace=self.workspace,
            row=row,
            seed=seed,
            before=before,
            random=Random(f"{row.id}:{seed}"),  # noqa: S311 it has to be repeatable
        )

    def _inject(self, scenario: FleetScenario, problems: list[str]) -> CommandResult | None:
        inject: Callable[[Any], CommandResult | None] = scenario.row.inject
        try:
            with scenario.cleanup:
                return inject(scenario)
        except (AssertionError, HarnessError) as error:
            problems.append(f"during the injection: {error}")
            return None

    def _verify_convergence(self, scenario: FleetScenario, problems: list[str]) -> None:
        """The same release without the fault reaches all hosts; another `up` changes nothing."""
        scenario.configure()
        redeployed = self.workspace.up()
        found = [diagnostics_of(redeployed)] if redeployed.code else []
        recorded = self.workspace.recorded()
        for name, host in self.hosts.items():
            last = wait_until_idle(host)
            found += [f"{name}: {text}" for text in host.problems(last)]
            if last.current != recorded.get(name) or last.current == scenario.before[name].current:
                found.append(f"{name} runs {last.current}, not {recorded.get(name)}")
        before = {name: host.container.started() for name, host in self.hosts.items()}
        again = self.workspace.up()
        if again.code or set(again.summary()) != {"unchanged"}:
            found.append(f"another `up` was not a no-op: {diagnostics_of(again)}")
        found += [
            f"{name}: another `up` started or stopped units"
            for name, host in self.hosts.items()
            if host.container.started() != before[name]
        ]
        problems += [f"after the fault was fixed: {text}" for text in found]


def _verify(
    scenario: FleetScenario,
    result: CommandResult | None,
    snapshots: dict[str, HostSnapshot],
    problems: list[str],
) -> None:
    for name, last in snapshots.items():
        problems += [f"{name}: {text}" for text in scenario.hosts[name].problems(last)]
        before = scenario.before[name]
        outcome = Outcome.OLD if last.current == before.current else Outcome.NEW
        if outcome is Outcome.NEW and last.new != last.current:
            problems.append(f"between: {name} runs {last.current}, not {last.new}")
        if name in scenario.new and outcome is not Outcome.NEW:
            problems.append(f"{name} ended OLD")
        if name in (*scenario.old, *scenario.untouched) and outcome is not Outcome.OLD:
            problems.append(f"{name} ended NEW")
        if name in scenario.untouched and last.attempt != before.attempt:
            problems.append(f"{name} was touched: attempt {last.attempt} {last.state}")
    if result is None:
        return
    if result.code == 0:
        problems.append("success was reported")
    if missing := [name for name in scenario.old if name not in result.diagnostics()]:
        problems.append(f"{', '.join(missing)} not named: {diagnostics_of(result)}")
