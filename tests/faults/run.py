"""Plays one injection on one host, and judges how it ended."""

import re
import time
from dataclasses import dataclass, replace
from random import Random
from subprocess import SubprocessError
from typing import TYPE_CHECKING, Any, Final

from harness.command_result import CommandResult
from harness.incus import HarnessError
from tests.faults.row import By, Ending, Row
from tests.faults.scene import ClassesScene, EngineScene, Scene
from tests.faults.site import Site
from tests.faults.vector import AHEAD, Vector

if TYPE_CHECKING:
    from collections.abc import Callable

PATIENCE: Final = 90.0
"""Seconds after the play in which a host has to come to rest."""
HASTY: Final = 15.0
"""The same where only the verdict counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """How one injection ended."""

    id: str
    seed: int
    host: str
    expected: Ending
    ended: Ending
    seconds: float
    """From the harm, or else from the start of the activation, to the end; 0 where none began."""
    ok: bool
    detail: str
    """What was wrong, one line for each thing; what was done, where nothing was."""
    total: float
    """Seconds that the whole injection took, mending and repeating included."""

    @classmethod
    def of(cls, fields: dict[str, Any]) -> "Result":
        """What `fields` gave."""
        endings = {name: Ending(fields[name]) for name in ("expected", "ended")}
        return cls(**{**fields, **endings})

    def fields(self) -> dict[str, Any]:
        """As the report has it."""
        found = {name: getattr(self, name) for name in self.__slots__}
        rounded = {name: round(found[name], 2) for name in ("seconds", "total")}
        return {**found, **rounded, "expected": str(self.expected), "ended": str(self.ended)}


def play(site: Site, row: Row, seed: int, *, hasty: bool = False) -> Result:
    """Play `row` on `site`; whatever happens, the host is left on a known system, or given up.

    `hasty`: after trouble there is nothing but the verdict, and the host is given up.
    """
    began = time.monotonic()
    troubles: list[str] = []
    scene, ended, seconds = None, Ending.BETWEEN, 0.0
    try:
        scene = _scene(site, row, seed)
        result = _harm(scene, troubles)
        last = rest(site, forgets=row.forgets, patience=HASTY if hasty else PATIENCE)
        scene.undo.close()
        last = site.grip.look()
        if row.forgets:
            last = replace(last, state="")
        ended = _ending(scene, last)
        seconds = _seconds(scene, last)
        troubles += _judge(scene, result, last, ended)
        if seconds > row.within:
            troubles.append(f"it took {seconds:.1f} s, and may take {row.within:g} s")
        if not (hasty and troubles):
            _converge(scene, ended, troubles)
    except (AssertionError, HarnessError, OSError, SubprocessError, ValueError) as error:
        troubles.append(f"{type(error).__name__}: {error}")
    if troubles and hasty:
        site.lost = "a row has failed here"
    elif troubles:
        _recover(site, scene, troubles)
    return Result(
        id=row.id,
        seed=seed,
        host=site.host.name,
        expected=row.expected,
        ended=ended,
        seconds=seconds,
        ok=not troubles,
        detail="\n".join(troubles or (scene.notes if scene else [])),
        total=time.monotonic() - began,
    )


def _scene(site: Site, row: Row, seed: int) -> Scene:
    if row.by is By.ENGINE:
        _bring_to_recorded(site)
    kind = EngineScene if row.by is By.ENGINE else ClassesScene
    begin = site.grip.look()
    assert not (found := site.troubles(begin)), f"before the fault: {'; '.join(found)}"
    return kind(
        site=site,
        row=row,
        seed=seed,
        begin=begin,
        random=Random(f"{row.id}:{seed}"),  # noqa: S311 it is to be repeated
        phases=site.grip.phases(),
    )


def _bring_to_recorded(site: Site) -> None:
    """Undo what rows without the engine have deployed: the stack knows nothing of it."""
    recorded, here = site.recorded(), site.grip.look().current
    if recorded and recorded != here:
        result = site.deploy(recorded, None, 0)()
        assert result.code == 0, f"back to the system of the stack: {result.text}"


def _harm(scene: Scene, troubles: list[str]) -> CommandResult | None:
    try:
        return scene.row.play(scene)
    except (AssertionError, HarnessError) as error:
        troubles.append(f"in the play: {error}")
        return None


def rest(site: Site, *, forgets: bool = False, patience: float = PATIENCE) -> Vector:
    """The vector once nothing is under way, or after so long that something must be wrong."""
    end = time.monotonic() + patience
    while True:
        try:
            last = site.grip.look()
        except HarnessError:
            if time.monotonic() > end:
                raise
        else:
            if last.rests or (forgets and not last.units) or time.monotonic() > end:
                return last
        time.sleep(0.3)


def _ending(scene: Scene, last: Vector) -> Ending:
    systems = {last.current, last.boot} | (set() if scene.row.torn else {last.profile})
    if systems == {scene.old}:
        return Ending.OLD
    return Ending.NEW if systems == {scene.new()} else Ending.BETWEEN


def _seconds(scene: Scene, last: Vector) -> float:
    """From the harm to the last change of the attempt's state, both by the machine's one clock."""
    if last.attempt == scene.begin.attempt:
        return 0.0
    began = scene.fault or _first_phase(scene)
    # A reboot ends an attempt without a change of its state.
    rested = last.booted if last.boot_id != last.attempt_boot_id else last.changed
    return max(0.0, rested - began) if began else 0.0


def _first_phase(scene: Scene) -> float:
    after = f"tail -n +{scene.phases + 1} /run/fake/phase 2>/dev/null | sed -n 1p"
    words = scene.grip.ask(after).split()
    return float(words[2]) if len(words) > 2 else 0.0


def _judge(scene: Scene, result: CommandResult | None, last: Vector, ended: Ending) -> list[str]:
    row = scene.row
    troubles = scene.site.troubles(last)
    if row.torn and last.boot != last.profile:
        scene.notes.append("cut between profile and boot loader")
        troubles = [text for text in troubles if not text.startswith(AHEAD)]
    if ended is Ending.BETWEEN or row.expected not in {ended, Ending.EITHER}:
        systems = f"runs {last.current}, boots {last.boot}, attempt {last.state or 'none'}"
        troubles.append(f"it ended {ended}, not {row.expected}: {systems}; OLD is {scene.old}")
        troubles += [f"it said: {words_of(result)}"] if result else []
    return troubles if result is None else troubles + judge_words(row, result, ended)


def judge_words(row: Row, result: CommandResult, ended: Ending) -> list[str]:
    """What is wrong in what the deployer said, of a row that has ended so."""
    troubles = []
    # What the deployer reports is what the host says at the end.
    wrong = result.code == 0 if ended is Ending.OLD else result.code != 0
    if wrong and row.expected is not Ending.EITHER:
        troubles.append(f"it ended {ended}, and with status {result.code}: {words_of(result)}")
    if result.code == 0 and ended is not Ending.NEW:
        troubles.append(f"a success was reported, and it ended {ended}")
    if row.says and ended is not Ending.NEW and not re.search(row.says, result.text, re.DOTALL):
        troubles.append(f"the words {row.says!r} are not in: {words_of(result)}")
    return troubles


def words_of(result: CommandResult) -> str:
    """What a person reads of it."""
    return (result.diagnostics() if "Diagnostics:" in result.text else result.text).strip()[-1200:]


def _converge(scene: Scene, ended: Ending, troubles: list[str]) -> None:
    """After any fault the next deployment succeeds, and the one after it has nothing to do."""
    site = scene.site
    mended = scene.mend()
    last = rest(site)
    found = site.troubles(last)
    if mended.code:
        found.append(f"mended, and yet: {words_of(mended)}")
    if last.current != scene.confirmed():
        found.append(f"mended, it runs {last.current}; the deployer says {scene.confirmed()}")
    if ended is Ending.OLD and last.current == scene.old:
        found.append("mended, it is still on OLD")
    before = site.host.started()
    again, unchanged = scene.repeat()
    if again.code or not unchanged:
        found.append(f"once more, and it had something to do: {words_of(again)}")
    if (after := site.host.started()) != before:
        changed = sorted(set(before.items()) ^ set(after.items()))
        found.append(f"once more, and units were started or stopped: {changed}")
    troubles += [f"after the mending: {text}" for text in found]


def _recover(site: Site, scene: Scene | None, troubles: list[str]) -> None:
    """Bring a host back on which something was wrong, so that the next row has a fair start."""
    steps: list[Callable[[], object]] = [lambda: site.grip.incus("resume"), site.grip.restart]
    if scene:
        steps = [scene.undo.close, *steps]
    for step in steps:
        try:
            step()
        except (AssertionError, HarnessError) as error:
            text = str(error)
            if "already" not in text and "not frozen" not in text:
                troubles.append(f"recovery: {error}")
    try:
        site.workspace.cancel()
        site.write()
        site.workspace.fleet()
        _bring_to_recorded(site)
        found = site.troubles(rest(site))
    except (AssertionError, HarnessError) as error:
        found = [str(error)]
    if found:
        site.lost = "; ".join(found)
        troubles.append(f"recovery: the host is given up: {site.lost}")
