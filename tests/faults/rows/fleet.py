"""Waves (F15): a bad canary, a bad host later on, one that is away, a deployer that dies."""

from harness.command_result import CommandResult
from tests.faults.fleet import FleetScene
from tests.faults.row import By, Ending, Row

GROUP = "fleet"


def bad_canary(scene: FleetScene) -> CommandResult:
    first, *others = scene.names
    scene.old, scene.untouched = (first,), tuple(others)
    return scene.deploy({first: "unit-fails"})


def bad_later(scene: FleetScene) -> CommandResult:
    """The second of a pair; to go on in spite of errors does not take the later waves along."""
    first, second, third, *others = scene.names
    scene.new, scene.old, scene.untouched = (first, second), (third,), tuple(others)
    return scene.deploy({third: "unit-fails"}, "--continue-on-error")


def bad_with_a_queue(scene: FleetScene) -> CommandResult:
    """All others in one wave, one place: who is first in it fails, and who waits is left alone."""
    first, *others = scene.names
    scene.new = (first,)
    rollout = {"canary": 1, "maxParallel": 1}
    result = scene.deploy(
        dict.fromkeys(others, "unit-fails"), "--continue-on-error", rollout=rollout
    )
    touched = [
        name
        for name in others
        if scene.sites[name].grip.look().attempt != scene.begin[name].attempt
    ]
    assert len(touched) == 1, f"touched: {touched}"
    scene.old = (touched[0],)
    return result


def away(scene: FleetScene) -> CommandResult:
    first, second, third, _, fifth, *others = scene.names
    scene.new, scene.old, scene.untouched = (first, second, third), (fifth,), tuple(others)
    # A copy that fails stops the rollout before it begins: it is there already.
    copies = (word for name in scene.names for word in ("--target", f"**::{name}-copy"))
    copied = scene.deploy({}, *copies)
    assert copied.code == 0, copied.text
    site = scene.sites[fifth]
    site.grip.incus("stop", "--force")

    def back() -> None:
        site.grip.incus("start")
        site.grip.started()

    scene.undo.callback(back)
    return scene.deploy({}, "--continue-on-error")


def killed(scene: FleetScene) -> None:
    """All at once, and the deployer dies while they activate."""
    rollout = {"canary": 0}
    with scene.going(dict.fromkeys(scene.names, "slow"), rollout=rollout) as engine:
        scene.undo.callback(scene.workspace.cancel)
        name = scene.random.choice(scene.names)
        scene.sites[name].grip.until_state(scene.begin[name].attempt, "activating")
        engine.kill()


def _row(name: str, what: str, play: object, quick: int = 0) -> Row:
    return Row(
        id=name, group=GROUP, what=what, expected=Ending.EACH, by=By.FLEET, quick=quick,
        play=play,  # type: ignore[arg-type]
    )  # fmt: skip


ROWS = (
    _row("F15a", "a unit fails on the canary of a fleet", bad_canary, quick=1),
    _row("F15b", "a host of a later wave is switched off", away),
    _row("F15d", "a unit fails in the second wave, with --continue-on-error", bad_later),
    _row("F15e", "a unit fails on a host for which others wait", bad_with_a_queue),
    _row("F15f", "the deployer is killed while all hosts activate", killed),
)
