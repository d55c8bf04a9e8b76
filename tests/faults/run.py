"""Runs one injection on one host, and verifies its outcome."""

import re
import time
from dataclasses import dataclass, replace
from random import Random
from subprocess import SubprocessError
from typing import TYPE_CHECKING, Any, Final

from harness.command_result import CommandResult
from harness.incus import HarnessError
from tests.faults.host_snapshot import FAILED, PROFILE_AHEAD, HostSnapshot
from tests.faults.host_under_test import HostUnderTest
from tests.faults.row import Driver, Outcome, Row
from tests.faults.scenario import EngineScenario, PipelineScenario, Scenario

if TYPE_CHECKING:
    from collections.abc import Callable

IDLE_TIMEOUT: Final = 90.0
"""Seconds after the injection in which a host has to become idle."""
FAIL_FAST_TIMEOUT: Final = 15.0
"""The same with `--fail-fast`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """The result of one injection."""

    id: str
    seed: int
    host: str
    expected: Outcome
    outcome: Outcome
    seconds: float
    """From the fault, or else from the start of the activation, to the end of the attempt; 0 if
    none was started."""
    ok: bool
    detail: str
    """All problems, one a line; notes on the fault where there is none."""
    total: float
    """Seconds that the whole injection took, including the deployments after it."""

    @classmethod
    def of(cls, fields: dict[str, Any]) -> "Result":
        """Read what `fields` returned."""
        outcomes = {name: Outcome(fields[name]) for name in ("expected", "outcome")}
        return cls(**{**fields, **outcomes})

    def fields(self) -> dict[str, Any]:
        """The fields for the JSON report."""
        found = {name: getattr(self, name) for name in self.__slots__}
        rounded = {name: round(found[name], 2) for name in ("seconds", "total")}
        return {**found, **rounded, "expected": str(self.expected), "outcome": str(self.outcome)}


def run_injection(host: HostUnderTest, row: Row, seed: int, *, fail_fast: bool = False) -> Result:
    """Inject `row` on `host`, which is left on a known system or marked as unusable.

    With `fail_fast`, only the verdict of a row that fails matters: its host is not recovered.
    """
    began = time.monotonic()
    problems: list[str] = []
    scenario, outcome, seconds = None, Outcome.BETWEEN, 0.0
    try:
        scenario = _scenario(host, row, seed)
        result = _inject(scenario, problems)
        last = _settle(scenario, FAIL_FAST_TIMEOUT if fail_fast else IDLE_TIMEOUT)
        outcome = _outcome(scenario, last)
        seconds = _seconds(scenario, last)
        problems += _verify(scenario, result, last, outcome)
        if seconds > row.within:
            problems.append(f"it took {seconds:.1f} s, more than {row.within:g} s")
        if not (fail_fast and problems):
            _verify_convergence(scenario, outcome, problems)
    except (AssertionError, HarnessError, OSError, SubprocessError, ValueError) as error:
        problems.append(f"{type(error).__name__}: {error}")
    if problems and fail_fast:
        host.unusable = "a row has failed here"
    elif problems:
        _recover(host, scenario, problems)
    return Result(
        id=row.id,
        seed=seed,
        host=host.name,
        expected=row.expected,
        outcome=outcome,
        seconds=seconds,
        ok=not problems,
        detail="\n".join(problems or (scenario.notes if scenario else [])),
        total=time.monotonic() - began,
    )


def _scenario(host: HostUnderTest, row: Row, seed: int) -> Scenario:
    if row.driver is Driver.ENGINE:
        _restore_recorded(host)
    kind = EngineScenario if row.driver is Driver.ENGINE else PipelineScenario
    before = host.shell.snapshot()
    assert not (found := host.problems(before)), f"before the fault: {'; '.join(found)}"
    return kind(
        host=host,
        row=row,
        seed=seed,
        before=before,
        random=Random(f"{row.id}:{seed}"),  # noqa: S311 it has to be repeatable
        phases_before=host.shell.phase_count(),
    )


def _restore_recorded(host: HostUnderTest) -> None:
    """Deploy what the stack's state records, as rows without the engine do not update it."""
    recorded, current = host.recorded(), host.shell.snapshot().current
    if recorded and recorded != current:
        result = host.deploy(recorded, None, 0)()
        assert result.code == 0, f"back to the system of the stack: {result.text}"


def _inject(scenario: Scenario, problems: list[str]) -> CommandResult | None:
    try:
        return scenario.row.inject(scenario)
    except (AssertionError, HarnessError) as error:
        problems.append(f"during the injection: {error}")
        return None


def _settle(scenario: Scenario, timeout: float) -> HostSnapshot:
    """Wait until the host is idle, and take the fault away; returns the state after that.

    A way back that has failed goes on: it only succeeds once the fault is gone.
    """
    unrecorded = scenario.row.unrecorded
    wait_until_idle(scenario.host, unrecorded=unrecorded, failed_is_idle=True, timeout=timeout)
    scenario.cleanup.close()
    last = wait_until_idle(scenario.host, unrecorded=unrecorded, timeout=timeout)
    # Half a minute after its last request it ends, and fails where the bus was restarted meanwhile.
    scenario.shell.run("systemctl stop systemd-hostnamed.service || true")
    return replace(last, state="") if unrecorded else last


def wait_until_idle(
    host: HostUnderTest,
    *,
    unrecorded: bool = False,
    failed_is_idle: bool = False,
    timeout: float = IDLE_TIMEOUT,
) -> HostSnapshot:
    """Wait until nothing is in progress on a host, or the time is up; returns its state then.

    With `failed_is_idle`, also until a way back has failed, which the host tries again.
    """
    end = time.monotonic() + timeout
    while True:
        try:
            last = host.shell.snapshot()
        except HarnessError:
            if time.monotonic() > end:
                raise
        else:
            over = last.idle or (unrecorded and not last.units)
            if over or (failed_is_idle and last.state == FAILED) or time.monotonic() > end:
                return last
        time.sleep(0.3)


def _outcome(scenario: Scenario, last: HostSnapshot) -> Outcome:
    systems = {last.current, last.boot} | (set() if scenario.row.torn else {last.profile})
    if systems == {scenario.old}:
        return Outcome.OLD
    if systems == {scenario.other}:
        return Outcome.OTHER
    return Outcome.NEW if systems == {scenario.new()} else Outcome.BETWEEN


def _seconds(scenario: Scenario, last: HostSnapshot) -> float:
    """From the fault to the last state change of the attempt, both by this machine's clock."""
    if last.attempt == scenario.before.attempt:
        return 0.0
    began = scenario.fault_time or _first_phase(scenario)
    # A reboot ends an attempt without a change of its state.
    ended = last.booted if last.boot_id != last.attempt_boot_id else last.changed
    return max(0.0, ended - began) if began else 0.0


def _first_phase(scenario: Scenario) -> float:
    after = f"tail -n +{scenario.phases_before + 1} /run/fake/phase 2>/dev/null | sed -n 1p"
    words = scenario.shell.output(after).split()
    return float(words[2]) if len(words) > 2 else 0.0


def _verify(
    scenario: Scenario, result: CommandResult | None, last: HostSnapshot, outcome: Outcome
) -> list[str]:
    row = scenario.row
    problems = scenario.host.problems(last)
    if row.torn and last.boot != last.profile:
        scenario.notes.append("cut between profile and boot loader")
        problems = [text for text in problems if not text.startswith(PROFILE_AHEAD)]
    if outcome is Outcome.BETWEEN or row.expected not in {outcome, Outcome.EITHER}:
        systems = f"runs {last.current}, boots {last.boot}, attempt {last.state or 'none'}"
        problems.append(f"it ended {outcome}, not {row.expected}: {systems}; OLD is {scenario.old}")
        problems += [f"the deployer printed: {diagnostics_of(result)}"] if result else []
    return problems if result is None else problems + check_report(row, result, outcome)


def check_report(row: Row, result: CommandResult, outcome: Outcome) -> list[str]:
    """What is wrong with the deployer's report, given the actual outcome."""
    problems = []
    wrong = result.code != 0 if outcome is Outcome.NEW else result.code == 0
    if wrong and row.expected is not Outcome.EITHER:
        text = diagnostics_of(result)
        problems.append(f"it ended {outcome}, but with status {result.code}: {text}")
    if result.code == 0 and outcome is not Outcome.NEW:
        problems.append(f"success was reported, but it ended {outcome}")
    expects_message = row.message and outcome is not Outcome.NEW
    if expects_message and not re.search(row.message, result.text, re.DOTALL):
        problems.append(f"{row.message!r} is not in the output: {diagnostics_of(result)}")
    return problems


def diagnostics_of(result: CommandResult) -> str:
    """The part of the output that people read: the diagnostics, or else all of it, shortened."""
    text = result.diagnostics() if "Diagnostics:" in result.text else result.text
    return text.strip()[-1200:]


def _verify_convergence(scenario: Scenario, outcome: Outcome, problems: list[str]) -> None:
    """After any fault the next deployment succeeds, and the one after it has nothing to do."""
    host = scenario.host
    redeployed = scenario.redeploy()
    last = wait_until_idle(host)
    found = host.problems(last)
    if redeployed.code:
        found.append(f"the next deployment failed: {diagnostics_of(redeployed)}")
    if last.current != scenario.recorded():
        found.append(f"it runs {last.current}, but the deployer recorded {scenario.recorded()}")
    if outcome is Outcome.OLD and last.current == scenario.old:
        found.append("it is still on OLD")
    before = host.container.started()
    again, unchanged = scenario.repeat()
    if again.code or not unchanged:
        found.append(f"another deployment was not a no-op: {diagnostics_of(again)}")
    if (after := host.container.started()) != before:
        changed = sorted(set(before.items()) ^ set(after.items()))
        found.append(f"another deployment started or stopped units: {changed}")
    problems += [f"after the fault was fixed: {text}" for text in found]


def _recover(host: HostUnderTest, scenario: Scenario | None, problems: list[str]) -> None:
    """Bring a host back to a known state after a failed row."""
    steps: list[Callable[[], object]] = [
        lambda: host.shell.incus("resume"),
        host.shell.power_cycle,
    ]
    if scenario:
        steps = [scenario.cleanup.close, *steps]
    for step in steps:
        try:
            step()
        except (AssertionError, HarnessError) as error:
            text = str(error)
            if "already" not in text and "not frozen" not in text:
                problems.append(f"recovery: {error}")
    try:
        host.workspace.cancel()
        host.write_config()
        host.workspace.fleet()
        _restore_recorded(host)
        found = host.problems(wait_until_idle(host))
    except (AssertionError, HarnessError) as error:
        found = [str(error)]
    if found:
        host.unusable = "; ".join(found)
        problems.append(f"recovery failed, the host is unusable: {host.unusable}")
