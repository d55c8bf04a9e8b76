"""Deployers against each other and against time (F10, F26), and commits at the wrong moment."""

import asyncio
import time

from components.pipeline.activation import protocol
from harness.command_result import CommandResult
from tests.faults.machine import Deployment
from tests.faults.row import By, Ending, Row
from tests.faults.scene import ClassesScene, Scene
from tests.faults.site import TIMES

GROUP = "races"


def two_deployers(scene: Scene) -> CommandResult:
    """Both want another system; one gets the host, and the other is told who has it."""
    assert isinstance(scene, ClassesScene)
    rival_new = _rival(scene)
    with scene.going("plain") as mine:
        scene.wait(0, 0.4)
        rival = Deployment(work=scene.site.deploy(rival_new, scene.old, 0)).start()
        result, other = mine.end(), rival.end()
    assert (result.code == 0) != (other.code == 0), f"both: {result.text} // {other.text}"
    loser, winner = (result, other) if other.code == 0 else (other, result)
    assert "being deployed by" in loser.text or "it runs" in loser.text, loser.text
    if winner is other:
        scene.meant(rival_new)
    _only_one_switched(scene)
    return winner


def start_during_a_start(scene: Scene) -> CommandResult:
    """The second start comes while the pre-switch checks of the first one run: it has to wait."""
    assert isinstance(scene, ClassesScene)
    with scene.going("slow-check") as mine:
        scene.at_state("prepared")
        rival = Deployment(work=scene.site.deploy(_rival(scene), scene.old, 0)).start()
        result, other = mine.end(), rival.end()
    assert other.code, f"both: {result.text} // {other.text}"
    assert "being deployed by faults" in other.text, f"the second was told: {other.text}"
    _only_one_switched(scene)
    return result


def _rival(scene: Scene) -> str:
    return next(scene.site.stock[name] for name in ("slow", "slower") if _is_other(scene, name))


def _is_other(scene: Scene, name: str) -> bool:
    return scene.site.stock[name] != scene.old


def _only_one_switched(scene: Scene) -> None:
    """All phases since the beginning are of NEW: nothing of the other came in between."""
    phases = scene.grip.phases_after(scene.phases)
    assert {system for _, _, system in phases} == {scene.new()}, f"phases: {phases}"


def switch_by_hand(scene: Scene) -> CommandResult:
    """Somebody's own switch holds NixOS's lock."""
    scene.grip.sh(
        "mkdir -p /run/nixos; systemd-run -q --unit=by-hand --collect"
        " flock /run/nixos/switch-to-configuration.lock sleep 60"
    )
    scene.later("systemctl stop by-hand")
    scene.grip.until("! flock -n /run/nixos/switch-to-configuration.lock true")
    return scene.deploy()


def drifted(scene: Scene) -> CommandResult:
    """Somebody has switched to another system by hand, and gone back before the next `up`."""
    other = scene.site.stock["other"]
    scene.grip.sh(f"{other}/bin/switch-to-configuration test")
    scene.later(f"{scene.old}/bin/switch-to-configuration test")
    return scene.deploy()


def commit_at_the_deadline(scene: Scene) -> CommandResult:
    """The confirmation arrives around the moment at which the time for it ends."""
    pause = scene.random.uniform(2.2, 3.6)
    scene.notes.append(f"confirmed after {pause:.2f} s of 3")
    return scene.deploy("plain", pause=pause, times={"confirm": "3s"})


def commit_after_the_deadline(scene: Scene) -> CommandResult:
    return scene.deploy("plain", pause=6, times={"confirm": "3s"})


def never_confirmed(scene: Scene) -> None:
    """The deployer is gone for good: only the timer of the host can end it."""
    assert isinstance(scene, ClassesScene)
    machine = scene.site.machine.timed({**TIMES, "confirm": "3s"})
    state = asyncio.run(machine.attempt(scene.choose("plain"), scene.old).run())
    assert state == "awaiting-confirm", state
    scene.mark()


def second_commit(scene: Scene) -> CommandResult:
    result = scene.deploy()
    code, reply = _say(scene, protocol.ENTRY, scene.new())
    assert (code, reply) == (0, "unchanged"), (code, reply)
    return result


def two_commits_at_once(scene: Scene) -> CommandResult:
    assert isinstance(scene, ClassesScene)
    new, machine = scene.choose("plain"), scene.site.machine

    async def both() -> list[int]:
        await machine.attempt(new, scene.old).run()
        pair = await asyncio.gather(machine.commit(new), machine.commit(new))
        return [code for code, _ in pair]

    began = time.monotonic()
    codes = asyncio.run(both())
    assert codes == [0, 0], codes
    return CommandResult(code=0, text="", seconds=time.monotonic() - began)


def commit_of_nothing(scene: Scene) -> None:
    """Nobody has prepared it."""
    assert isinstance(scene, ClassesScene)
    code, _ = _say(scene, protocol.ENTRY, scene.choose("plain"))
    assert code == 31, code


def commit_of_another(scene: Scene) -> CommandResult:
    assert isinstance(scene, ClassesScene)
    with scene.going("plain", pause=4) as going:
        scene.at_state("awaiting-confirm")
        code, _ = _say(scene, protocol.ENTRY, scene.site.stock["slower"])
        assert code == 31, code
        return going.end()


def abort_after_the_commit(scene: Scene) -> CommandResult:
    assert isinstance(scene, ClassesScene)
    result = scene.deploy()
    machine = scene.site.machine
    last = machine.attempt(scene.new(), scene.old)
    last.id = scene.grip.look().attempt
    reply = asyncio.run(last.abort("too late"))
    assert reply, "no answer"
    assert reply.event == "refused", reply
    return result


def abort_instead(scene: Scene) -> CommandResult:
    assert isinstance(scene, ClassesScene)
    new, machine = scene.choose("plain"), scene.site.machine

    async def taken_back() -> str:
        one = machine.attempt(new, scene.old)
        await one.run()
        reply = await one.abort("$(reboot) 'x' \"y\"")
        return reply["state"] if reply else "no answer"

    began = time.monotonic()
    state = asyncio.run(taken_back())
    assert state == "rolled-back", state
    return CommandResult(code=1, text=state, seconds=time.monotonic() - began)


def _say(scene: Scene, *words: str) -> tuple[int, str]:
    """Call the runner, published first: a host that was never deployed to has none."""
    code, reply = asyncio.run(scene.site.machine.say(*protocol.publish(*words[1:])))
    return code, reply["outcome"] or reply.event if reply else ""


ROWS = (
    Row(
        id="F10d", group=GROUP, expected=Ending.NEW, play=start_during_a_start, by=By.CLASSES,
        times=3, what="a second deployer starts while the first one's pre-switch checks run",
    ),
    Row(
        id="F10a", group=GROUP, expected=Ending.NEW, play=two_deployers, by=By.CLASSES, times=20,
        quick=1, what="two deployers at once, with different systems",
    ),
    Row(
        id="F10b", group=GROUP, expected=Ending.OLD, play=switch_by_hand, quick=1,
        says="another switch|lock", what="a switch by hand is under way",
    ),
    Row(
        id="F10c", group=GROUP, expected=Ending.OLD, play=drifted, says="it runs .* to bring it",
        what="the host was switched by hand since",
    ),
    Row(
        id="F26", group=GROUP, expected=Ending.EITHER, play=commit_at_the_deadline, by=By.CLASSES,
        times=100, quick=1, within=30, what="the confirmation comes around its deadline",
    ),
    Row(
        id="C1", group=GROUP, expected=Ending.OLD, play=commit_after_the_deadline, by=By.CLASSES,
        times=3, quick=1, within=15, what="the confirmation comes after its deadline",
    ),
    Row(
        id="C2", group=GROUP, expected=Ending.NEW, play=second_commit, by=By.CLASSES, times=2,
        what="the confirmation is sent twice",
    ),
    Row(
        id="C3", group=GROUP, expected=Ending.NEW, play=two_commits_at_once, by=By.CLASSES, times=5,
        what="two confirmations at once",
    ),
    Row(
        id="C4", group=GROUP, expected=Ending.OLD, play=commit_of_nothing, by=By.CLASSES,
        what="a confirmation without an attempt",
    ),
    Row(
        id="C5", group=GROUP, expected=Ending.NEW, play=commit_of_another, by=By.CLASSES,
        what="a confirmation of another system, then the right one",
    ),
    Row(
        id="C6", group=GROUP, expected=Ending.NEW, play=abort_after_the_commit, by=By.CLASSES,
        what="an abort after the commit",
    ),
    Row(
        id="C8", group=GROUP, expected=Ending.OLD, play=never_confirmed, by=By.CLASSES, times=3,
        quick=1, within=15, what="no confirmation comes",
    ),
    Row(
        id="C7", group=GROUP, expected=Ending.OLD, play=abort_instead, by=By.CLASSES, times=3,
        within=15, what="an abort instead of the confirmation",
    ),
)  # fmt: skip
