"""What runs an activation is killed, frozen, cut off or restarted (F2-F4, F8, F13, F16, F20)."""

import contextlib
import re
import time

from harness.command_result import CommandResult
from harness.incus import HarnessError
from tests.faults.row import By, Ending, Row
from tests.faults.scene import ClassesScene, Scene

GROUP = "activation"
SWITCH = "bin/switch-to-configuration.*test"
RUNNER = "attempts/.*/runner run"


def kill_switch(scene: Scene) -> CommandResult:
    """At a random moment of a slow activation: the wrapper, its script and what they started."""
    with scene.going("slow") as going:
        scene.kill_in_switch(1.2, "switch-to-configuration")
        return going.end()


def kill_runner(scene: Scene) -> CommandResult:
    with scene.going("slow") as going:
        scene.kill_in_switch(1.6, RUNNER)
        return going.end()


def kill_all_of_it(scene: Scene) -> CommandResult:
    """The whole control group of the attempt at once."""
    with scene.going("slow") as going:
        scene.at_phase("stop")
        scene.wait(0, 1.2)
        scene.mark()
        unit = "flakeup-activate-*.service"
        scene.grip.tries(f"systemctl kill --signal=KILL --kill-whom=all '{unit}'")
        return going.end()


def freeze_runner(scene: Scene) -> CommandResult:
    with scene.going("slow") as going:
        scene.at_phase("activate")
        scene.kill(RUNNER, "STOP")
        return going.end()


def kill_sessions(scene: Scene) -> CommandResult:
    with scene.going("slow") as going:
        scene.at_phase("stop")
        hits = 0
        for _ in range(3):
            scene.wait(0.1, 0.5)
            hits += scene.grip.kill_sessions()
        assert hits, "there was no ssh connection to cut"
        scene.mark()
        return going.end()


def kill_sessions_committing(scene: Scene) -> CommandResult:
    """The commit is sent again, and waits for the one that is under way."""
    with scene.going("boot-slow") as going:
        scene.at_state("committing")
        scene.wait(0.5, 3)
        scene.mark()
        assert scene.grip.kill_sessions(), "there was no ssh connection to cut"
        return going.end()


def restart_early(scene: Scene) -> CommandResult:
    with scene.going("slow") as going:
        scene.at_phase("activate")
        scene.mark()
        scene.grip.restart()
        return going.end()


def restart_somewhere(scene: Scene) -> CommandResult:
    with scene.going("slow") as going:
        scene.at_state("prepared", "activating", "checking", "awaiting-confirm", "committed")
        scene.wait(0, 6)
        scene.mark()
        scene.grip.restart()
        return going.end()


def restart_awaiting(scene: Scene) -> CommandResult:
    with scene.going("plain", pause=3) as going:
        scene.at_state("awaiting-confirm")
        scene.mark()
        scene.grip.restart()
        return going.end()


def restart_committing(scene: Scene) -> CommandResult:
    with scene.going("plain") as going:
        scene.at_state("committing", "committed")
        scene.wait(0, 1.5)
        scene.mark()
        scene.grip.restart()
        return going.end()


def restart_after(scene: Scene) -> CommandResult:
    result = scene.deploy()
    scene.grip.restart()
    return result


def hang(scene: Scene) -> CommandResult:
    return scene.deploy("hanging", times={"timeout": "5s"})


def pause(scene: Scene) -> CommandResult:
    """Frozen for longer than its time; the deployer gives up, and the timer has run on."""
    times = {"timeout": "5s", "checkDeadline": "3s", "confirm": "5s"}
    with scene.going("slower", times=times) as it:
        scene.at_phase("activate")
        scene.mark()
        thaws = time.monotonic() + 40
        with contextlib.suppress(HarnessError):  # seen once: it was frozen, and Incus said so never
            scene.grip.incus("pause")
        time.sleep(max(0.0, thaws - time.monotonic()))
        scene.grip.incus("resume")
        return it.end()


def reexec(scene: Scene) -> CommandResult:
    with scene.going("slow") as going:
        scene.at_phase("activate")
        scene.grip.sh("systemctl daemon-reexec; systemctl daemon-reload")
        return going.end()


def reexec_unconfirmed(scene: Scene) -> CommandResult:
    """The deployer never comes back: only the timer can end it."""
    with scene.going("plain", pause=60) as going:
        scene.at_state("awaiting-confirm")
        scene.mark()
        scene.grip.sh("systemctl daemon-reexec; systemctl daemon-reload")
        scene.at_state("rolled-back", seconds=40)
        return going.end()


def flood(scene: Scene) -> CommandResult:
    result = scene.deploy("flooding")
    size = int(scene.grip.ask("stat -c %s /nix/var/flakeup/current/log"))
    assert size <= 1 << 20, f"the log has {size} bytes"
    return result


def out_of_memory(scene: Scene) -> CommandResult:
    """The unit gets a limit, as a host has one; the activation wants four times as much."""
    with scene.going("eating") as going:
        scene.at_phase("activate")
        scene.mark()
        scene.grip.sh(
            "for unit in $(systemctl list-units --plain --no-legend 'flakeup-activate-*' |"
            " cut -d' ' -f1); do systemctl set-property --runtime $unit MemoryMax=64M; done"
        )
        return going.end()


def collect_garbage(scene: Scene) -> CommandResult:
    with scene.going("slower") as going:
        scene.at_phase("activate")
        scene.grip.sh("nix-collect-garbage -d >/dev/null 2>&1", timeout=60)
        return going.end()


def collect_garbage_and_fail(scene: Scene) -> CommandResult:
    with scene.going("slower") as going:
        scene.at_phase("activate")
        scene.grip.sh("nix-collect-garbage -d >/dev/null 2>&1", timeout=60)
        scene.kill(SWITCH)
        return going.end()


def collect_garbage_and_wait(scene: Scene) -> CommandResult:
    """Between two tries to get NixOS's lock nothing of NEW runs, and nothing leads to it yet."""
    assert isinstance(scene, ClassesScene)
    with scene.going("slow-check") as going:
        scene.unroot(scene.new())
        scene.at_state("prepared")
        # It is in line for the lock that the pre-switch checks hold now.
        scene.later("systemctl stop by-hand")
        scene.grip.sh(
            "systemd-run -q --unit=by-hand --collect"
            " flock /run/nixos/switch-to-configuration.lock sleep 60"
        )
        scene.grip.until("grep -q '^Could not acquire lock' /nix/var/flakeup/current/log")
        scene.grip.sh("nix-collect-garbage -d >/dev/null 2>&1", timeout=60)
        scene.grip.sh("systemctl stop by-hand")
        return going.end()


def collect_garbage_afterwards(scene: Scene) -> CommandResult:
    """What was deployed before the last deployment outlives all generations."""
    scene.unroot(scene.old)
    result = scene.deploy()
    scene.grip.sh("nix-collect-garbage -d >/dev/null 2>&1", timeout=60)
    assert scene.grip.tries(f"nix-store --check-validity {scene.old}"), "OLD was collected"
    return result


def look_at_timers(scene: Scene) -> CommandResult:
    """No clock that somebody sets moves them: each counts from when it was armed."""
    show = "systemctl show -p TimersMonotonic -p TimersCalendar -p AccuracyUSec"
    with scene.going("slow", pause=2) as going:
        for state, timer in (("activating", "revert"), ("awaiting-confirm", "unconfirmed")):
            scene.at_state(state)
            found = scene.grip.ask(f"{show} 'flakeup-{timer}-*.timer'")
            kinds = re.findall(r"OnActiveUSec|OnCalendar", found)
            assert kinds == ["OnActiveUSec"], f"the timer while {state}: {found}"
            assert "AccuracyUSec=1s" in found, f"the timer while {state}: {found}"
        return going.end()


BACK = "rolled.back|reverted"
ROWS = (
    Row(
        id="F2", group=GROUP, expected=Ending.OLD, play=kill_switch, by=By.CLASSES, times=50,
        quick=2, within=15, what="switch-to-configuration is killed at a random moment",
    ),
    Row(
        id="F2b", group=GROUP, expected=Ending.EITHER, play=kill_runner, by=By.CLASSES, times=25,
        quick=1, within=15, what="the runner is killed at a random moment",
    ),
    Row(
        id="F2c", group=GROUP, expected=Ending.OLD, play=kill_all_of_it, by=By.CLASSES, times=5,
        within=15, what="the whole unit of the attempt is killed",
    ),
    Row(
        id="F2d", group=GROUP, expected=Ending.OLD, play=kill_switch, times=2, within=15,
        what="switch-to-configuration is killed, seen by the engine", says=BACK,
    ),
    Row(
        id="F3", group=GROUP, expected=Ending.NEW, play=kill_sessions, times=2,
        what="all ssh connections are cut during the activation",
    ),
    Row(
        id="F3b", group=GROUP, expected=Ending.NEW, play=kill_sessions_committing, times=2,
        what="all ssh connections are cut during a slow commit",
    ),
    Row(
        id="F4a", group=GROUP, expected=Ending.OLD, play=restart_early, quick=1,
        what="power cut during the activation", says="reboot|restart|boot",
    ),
    Row(
        id="F4b", group=GROUP, expected=Ending.OLD, play=restart_awaiting, by=By.CLASSES, times=3,
        what="power cut between activation and confirmation",
    ),
    Row(
        id="F4c", group=GROUP, expected=Ending.EITHER, play=restart_committing, by=By.CLASSES,
        times=10, torn=True, what="power cut in the commit",
    ),
    Row(
        id="F4d", group=GROUP, expected=Ending.NEW, play=restart_after,
        what="power cut after the commit",
    ),
    Row(
        id="F4e", group=GROUP, expected=Ending.EITHER, play=restart_somewhere, by=By.CLASSES,
        times=30, quick=1, torn=True, what="power cut at a random moment",
    ),
    Row(
        id="F8a", group=GROUP, expected=Ending.OLD, play=hang, within=25,
        what="the activation hangs, and ignores SIGTERM", says=BACK,
    ),
    Row(
        id="F8c", group=GROUP, expected=Ending.OLD, play=pause, within=90,
        what="the host is frozen for 40 s, longer than an attempt may take",
    ),
    Row(
        id="F8d", group=GROUP, expected=Ending.OLD, play=freeze_runner, within=90,
        what="the runner is stopped (SIGSTOP)",
    ),
    Row(
        id="F13b", group=GROUP, expected=Ending.NEW, play=collect_garbage,
        what="garbage collection during the activation",
    ),
    Row(
        id="F13c", group=GROUP, expected=Ending.OLD, play=collect_garbage_and_fail, within=15,
        what="garbage collection during an activation that then fails",
    ),
    Row(
        id="F13d", group=GROUP, expected=Ending.NEW, play=collect_garbage_and_wait, by=By.CLASSES,
        what="garbage collection while the attempt waits for a switch by hand to end",
    ),
    Row(
        id="F13e", group=GROUP, expected=Ending.NEW, play=collect_garbage_afterwards,
        by=By.CLASSES, what="garbage collection after the commit, all older generations with it",
    ),
    Row(
        id="F14", group=GROUP, expected=Ending.NEW, play=look_at_timers, by=By.CLASSES,
        what="the clock jumps (a look at the timers: they do not go by it)",
    ),
    Row(
        id="F16", group=GROUP, expected=Ending.NEW, play=reexec,
        what="systemd is re-executed and reloaded during the activation",
    ),
    Row(
        id="F16b", group=GROUP, expected=Ending.OLD, play=reexec_unconfirmed, by=By.CLASSES,
        within=30, what="systemd is re-executed while the confirmation is awaited, and none comes",
    ),
    Row(
        id="F20a", group=GROUP, expected=Ending.NEW, play=flood,
        what="the activation prints 100 MB with control characters",
    ),
    Row(
        id="F20b", group=GROUP, expected=Ending.OLD, play=out_of_memory, within=15,
        what="the activation runs out of memory, and is killed for it",
    ),
)  # fmt: skip
