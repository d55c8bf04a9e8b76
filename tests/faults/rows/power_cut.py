"""The power is cut, and what was not on the disk is lost: a killed host loses nothing (F4)."""

from harness.command_result import CommandResult
from tests.faults.disk import Disk, disk_of, why_unavailable
from tests.faults.row import Driver, Outcome, Row
from tests.faults.scenario import PipelineScenario, Scenario

MOMENTS = ("prepared", "activating", "awaiting-confirm", "committing", "committed")
NOTES = ("state", "old", "new", "boot-id", "spec", "old-profile")
"""Files of an attempt that have to be whole from its first state on."""


def cut_somewhere(scenario: Scenario) -> CommandResult:
    """Soon after the attempt has entered a state that the seed chooses."""
    moment = MOMENTS[scenario.seed % len(MOMENTS)]
    scenario.notes.append(f"in state {moment}")
    disk = scenario.cleanup.enter_context(disk_of(scenario.shell))
    system = "plain" if moment == "committed" else "slow"
    pause = 2 if moment == "awaiting-confirm" else 0
    with scenario.deploying(system, pause=pause) as deployment:
        later = MOMENTS[MOMENTS.index(moment) :]
        scenario.wait_for_state(*later)
        scenario.sleep_random(0, 0.8)
        _cut(scenario, disk)
        return deployment.wait()


def cut_at_once(scenario: Scenario) -> CommandResult:
    """Before anything else on this machine can make the kernel write what it holds."""
    disk = scenario.cleanup.enter_context(disk_of(scenario.shell))
    with scenario.deploying("slow") as deployment:
        scenario.wait_for_state("activating")
        _cut(scenario, disk)
        return deployment.wait()


def cut_afterwards(scenario: Scenario) -> CommandResult:
    """The deployer was told `committed`: so it is, whatever happens next."""
    disk = scenario.cleanup.enter_context(disk_of(scenario.shell))
    result = scenario.deploy()
    _cut(scenario, disk)
    last = scenario.shell.snapshot()
    assert last.state == "committed", f"it was committed, and is {last.state or 'nothing'}"
    return result


def _cut(scenario: Scenario, disk: Disk) -> None:
    """Cut the power; what is recorded of the attempt then has to be true."""
    assert isinstance(scenario, PipelineScenario)
    scenario.mark_fault()
    disk.cut()
    last = scenario.shell.snapshot()
    if last.attempt == scenario.before.attempt:
        return  # the attempt never got to the disk
    folder = "/nix/var/flakeup/current"
    empty = scenario.shell.output(
        f"cd {folder} && for f in {' '.join(NOTES)}; do test -s $f || echo $f; done"
    )
    assert not empty, f"lost: {' '.join(empty.split())} of an attempt in state {last.state}"
    told = {
        "committed": last.new,
        "rolled-back": last.old,
        "prepared": last.old,
        "activating": last.old,
        "checking": last.old,
        "awaiting-confirm": last.old,
    }
    wanted = told.get(last.state, last.current)
    assert last.current == wanted, f"it says {last.state}, and runs {last.current}"


ROWS = (
    Row(
        id="F4f", expected=Outcome.EITHER, inject=cut_somewhere, driver=Driver.PIPELINE, times=15,
        torn=True, within=90, why_unavailable=why_unavailable,
        what="the power is cut at a random moment, and what was not on the disk is lost",
    ),
    Row(
        id="F4g", expected=Outcome.OLD, inject=cut_at_once, driver=Driver.PIPELINE, times=3,
        within=90, why_unavailable=why_unavailable, what="the same as soon as NEW is activated",
    ),
    Row(
        id="F4h", expected=Outcome.NEW, inject=cut_afterwards, driver=Driver.PIPELINE, times=4,
        quick=1, why_unavailable=why_unavailable, what="the same as soon as the commit has ended",
    ),
)  # fmt: skip
