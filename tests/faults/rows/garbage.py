"""Garbage is collected before, during and after an attempt (F13)."""

from harness.command_result import CommandResult
from tests.faults.host_shell import PROFILE, SWITCH_LOCK
from tests.faults.pipeline_driver import Deployment
from tests.faults.row import Driver, Outcome, Row
from tests.faults.rows.activation import SWITCH
from tests.faults.scenario import PipelineScenario, Scenario
from tests.faults.systems import COLLECTED

COLLECT = "nix-collect-garbage -d >/dev/null 2>&1"
FOLDER = "/run/faults"
_COLLECTOR = f"""
rm -rf {FOLDER} && mkdir {FOLDER} && mkfifo {FOLDER}/output || exit 1
for n in 1 2 3 4 5 6 7 8; do
    echo "$n" >{FOLDER}/dead-$n && nix-store --add {FOLDER}/dead-$n >/dev/null || exit 1
done
cat >{FOLDER}/collect <<'END'
exec 3<>{FOLDER}/output
# A pipe holds 64 KiB: with this in it, there is room for what the collector says before it deletes
# anything, and then it waits.
head -c 65460 /dev/zero >&3
nix-store --gc 2>{FOLDER}/output >/dev/null 3<&- &
until test -e {FOLDER}/go; do sleep 0.1; done
cat <&3 >/dev/null &
wait %1
END
systemd-run -q --unit=collector --collect sh {FOLDER}/collect
sleep 2
pgrep -f '^nix-store [-]-gc' >/dev/null
"""
"""Starts a collector that has read its roots, and deletes nothing until `go` exists."""


def during(scenario: Scenario) -> CommandResult:
    with scenario.deploying("slower") as deployment:
        scenario.wait_for_phase("activate")
        scenario.shell.run(COLLECT, timeout=60)
        return deployment.wait()


def during_a_failure(scenario: Scenario) -> CommandResult:
    with scenario.deploying("slower") as deployment:
        scenario.wait_for_phase("activate")
        scenario.shell.run(COLLECT, timeout=60)
        scenario.kill(SWITCH)
        return deployment.wait()


def while_it_waits(scenario: Scenario) -> CommandResult:
    """While the attempt waits for NixOS's lock, only its own garbage collector root keeps NEW."""
    assert isinstance(scenario, PipelineScenario)
    with scenario.deploying("slow-check") as deployment:
        scenario.remove_gc_root(scenario.new())
        scenario.wait_for_state("prepared")
        # Queued for the lock that the pre-switch checks hold now.
        scenario.on_cleanup("systemctl stop manual-switch")
        scenario.shell.run(
            f"systemd-run -q --unit=manual-switch --collect flock {SWITCH_LOCK} sleep 60"
        )
        scenario.shell.wait_until("grep -q '^Could not acquire lock' /nix/var/flakeup/current/log")
        scenario.shell.run(COLLECT, timeout=60)
        scenario.shell.run("systemctl stop manual-switch")
        return deployment.wait()


def begun_before(scenario: Scenario) -> CommandResult:
    """A collector has read its roots, and nothing roots NEW, when the attempt starts."""
    assert isinstance(scenario, PipelineScenario)
    shell = scenario.shell
    shell.run(f"nix-env --profile {PROFILE} --delete-generations old; nix-store --gc", timeout=60)
    rooted = shell.output("readlink -e /nix/var/nix/gcroots/flakeup/*").split()
    systems = [scenario.host.prebuilt[name] for name in COLLECTED]
    systems = [system for system in systems if system not in (scenario.old, *rooted)]
    for system in systems:
        scenario.remove_gc_root(system)
    shell.run(_COLLECTOR)
    scenario.on_cleanup(f"touch {FOLDER}/go; systemctl stop collector; rm -rf {FOLDER}")
    # Not what it is just about to delete.
    scenario.set_new(
        next(one for one in systems if shell.succeeds(f"nix-store --check-validity {one}"))
    )
    run = scenario.host.deploy(scenario.new(), scenario.old, 0)
    deployment = Deployment(run=run).start()
    scenario.wait_for_state("prepared", "activating")
    shell.run(f"touch {FOLDER}/go; while systemctl is-active -q collector; do sleep 0.1; done")
    return deployment.wait()


def afterwards(scenario: Scenario) -> CommandResult:
    """The previous system survives the removal of all old generations."""
    scenario.remove_gc_root(scenario.old)
    result = scenario.deploy()
    scenario.shell.run(COLLECT, timeout=60)
    assert scenario.shell.succeeds(f"nix-store --check-validity {scenario.old}"), (
        "OLD was collected"
    )
    return result


ROWS = (
    Row(
        id="F13b", expected=Outcome.NEW, inject=during,
        what="garbage collection during the activation",
    ),
    Row(
        id="F13c", expected=Outcome.OLD, inject=during_a_failure, within=15,
        what="garbage collection during an activation that then fails",
    ),
    Row(
        id="F13d", expected=Outcome.NEW, inject=while_it_waits, driver=Driver.PIPELINE,
        what="garbage collection while the attempt waits for a manual switch to finish",
    ),
    Row(
        id="F13e", expected=Outcome.NEW, inject=afterwards, driver=Driver.PIPELINE,
        what="garbage collection after the commit, including all older generations",
    ),
    Row(
        id="F13f", expected=Outcome.NEW, inject=begun_before, driver=Driver.PIPELINE, times=2,
        what="garbage collection that began before the attempt, and deletes during it",
    ),
)  # fmt: skip
