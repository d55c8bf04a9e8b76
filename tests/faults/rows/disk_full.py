"""Full disks: the store, /run and the guard's state directory (F7)."""

from harness.command_result import CommandResult
from tests.faults.row import Outcome, Row
from tests.faults.rows.copying import COPYING
from tests.faults.scenario import Scenario

STATE = "/nix/var/flakeup"
FILL = "for size in 64k 1; do dd if=/dev/zero of={0}/filler-$size bs=$size; done 2>/dev/null; true"
FREE = "rm -f {0}/filler-*"


def full_state_before(scenario: Scenario) -> CommandResult:
    _small_state(scenario)
    scenario.shell.run(FILL.format(STATE))
    scenario.mark_fault()
    return scenario.deploy()


def full_state_during_activation(scenario: Scenario) -> CommandResult:
    _small_state(scenario)
    with scenario.deploying("slower") as deployment:
        scenario.wait_for_phase("activate")
        scenario.shell.run(FILL.format(STATE))
        scenario.mark_fault()
        return deployment.wait()


def _small_state(scenario: Scenario) -> None:
    """Move the guard's state to a file system of 1 MB."""
    scenario.shell.run(
        f"cp -a {STATE} /root/state && mount -t tmpfs -o size=1M,mode=700 tmpfs {STATE}"
        f" && cp -a /root/state/current {STATE}/ && mkdir {STATE}/attempts"
        f" && cp -a /root/state/attempts/$(basename $(readlink {STATE}/current)) {STATE}/attempts/"
        " && rm -rf /root/state"
    )
    scenario.on_cleanup(
        FREE.format(STATE) + f"; cp -a {STATE} /root/state && umount {STATE}"
        f" && cp -a /root/state/. {STATE}/; rm -rf /root/state"
    )


def full_run(scenario: Scenario) -> CommandResult:
    with scenario.deploying("slower") as deployment:
        scenario.wait_for_phase("stop")
        scenario.on_cleanup(FREE.format("/run") + "; mount -o remount,size=3G /run")
        scenario.mark_fault()
        scenario.shell.run(
            "mount -o remount,size=$(( $(df --output=used -k /run | tail -n 1) + 8 ))k /run && "
            + FILL.format("/run")
        )
        return deployment.wait()


def full_store(scenario: Scenario) -> CommandResult:
    """The store has 1 MB left; the copy needs 30."""
    _small_store(scenario, "1024")
    return scenario.deploy("large")


def full_store_during_copy(scenario: Scenario) -> CommandResult:
    _small_store(scenario, "40960")
    with scenario.deploying("large") as deployment:
        scenario.shell.wait_until(COPYING)
        scenario.shell.run(FILL.format("/nix"))
        scenario.mark_fault()
        return deployment.wait()


def _small_store(scenario: Scenario, left: str) -> None:
    scenario.shell.run(
        "mkdir -p /mnt/disk && mount --bind /nix /mnt/disk && mount --make-private /mnt/disk"
        " && mount -t tmpfs tmpfs /nix"
        " && cp -a /mnt/disk/. /nix/"
        f" && mount -o remount,size=$(( $(df --output=used -k /nix | tail -n 1) + {left} ))k /nix",
        timeout=60,
    )
    scenario.on_cleanup(
        FREE.format("/nix") + "; mount -o remount,size=1G /nix; rm -rf /mnt/disk/*"
        "; cp -a /nix/. /mnt/disk/; umount /nix; umount /mnt/disk"
    )


ROWS = (
    Row(
        id="F7a", expected=Outcome.OLD, inject=full_store, quick=1,
        what="the store has no room for the release",
    ),
    Row(
        id="F7a2", expected=Outcome.EITHER, inject=full_store_during_copy,
        what="the store fills up during the copy",
    ),
    Row(
        id="F7b", expected=Outcome.EITHER, inject=full_run, within=60,
        what="/run fills up during the activation",
    ),
    Row(
        id="F7e", expected=Outcome.OLD, inject=full_state_before,
        what="the guard's state directory is full before",
    ),
    Row(
        id="F7f", expected=Outcome.OLD, inject=full_state_during_activation, within=60,
        unrecorded=True, what="the guard's state directory fills up during the activation",
    ),
)  # fmt: skip
