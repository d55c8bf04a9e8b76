"""Rows that need several hosts in one stack: canary, waves, and a host that is away (F15)."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Final

from harness.command_result import CommandResult, Json
from harness.incus import HarnessError
from tests.e2e.stack import Backend, Engine, Workspace
from tests.faults.row import Ending, Row
from tests.faults.run import Result, rest, words_of
from tests.faults.site import TIMES, Site
from tests.faults.systems import OPTIONS
from tests.faults.vector import Vector

ROLLOUT: Final[Json] = {"canary": 1, "waves": [2]}
"""One host, then pairs."""


@dataclass(slots=True, kw_only=True)
class FleetScene:
    """One injection into a deployment of all hosts: what a row's `play` is given."""

    sites: dict[str, Site]
    workspace: Workspace
    row: Row
    seed: int
    begin: dict[str, Vector]
    random: Random
    undo: ExitStack = field(default_factory=ExitStack)
    untouched: tuple[str, ...] = ()
    """Hosts on which nothing may happen; the play says which."""
    new: tuple[str, ...] = ()
    """Hosts that have to be on NEW at the end."""
    old: tuple[str, ...] = ()
    """Hosts that have to be on OLD; those in none of the three may be on either."""

    @property
    def names(self) -> list[str]:
        return list(self.sites)

    def configure(self, bad: Mapping[str, str] | None = None, rollout: Json | None = None) -> None:
        """Write a release that is new on all hosts; `bad` has the system of some of them."""
        stamp = {"extraText": f"{self.row.id} {self.seed}"}
        fleet = {name: {**OPTIONS[(bad or {}).get(name, "plain")], **stamp} for name in self.names}
        self.workspace.fleet(**fleet)
        self.workspace.write(appRef="v1", activation=TIMES, rollout=rollout or ROLLOUT)

    @contextmanager
    def going(
        self, bad: Mapping[str, str], *options: str, rollout: Json | None = None
    ) -> Iterator[Engine]:
        self.configure(bad, rollout)
        with self.workspace.running("up", "--yes", "--skip-preview", *options) as engine:
            yield engine

    def deploy(
        self, bad: Mapping[str, str], *options: str, rollout: Json | None = None
    ) -> CommandResult:
        with self.going(bad, *options, rollout=rollout) as engine:
            return engine.end()


@dataclass(slots=True, kw_only=True)
class Fleet:
    """All hosts in one stack."""

    sites: dict[str, Site]
    workspace: Workspace

    @classmethod
    def open(cls, sites: Sequence[Site], place: Path, url: str, key: Path) -> "Fleet":
        """The stack, deployed for the first time to hosts that run anything."""
        workspace = Workspace.make(place, Backend(state=place / "state"), url)
        workspace.init({site.host.name: site.host for site in sites}, key.read_text())
        workspace.write(appRef="v1", activation=TIMES, rollout=ROLLOUT)
        result = workspace.up()
        assert result.code == 0, result.text
        return cls(sites={site.host.name: site for site in sites}, workspace=workspace)

    def play(self, row: Row, seed: int) -> Result:
        """Play a row on all hosts, and judge each of them."""
        began = time.monotonic()
        troubles: list[str] = []
        try:
            scene = self._scene(row, seed)
            result = self._harm(scene, troubles)
            _judge(scene, result, {n: rest(site) for n, site in self.sites.items()}, troubles)
            self._converge(scene, troubles)
        except (AssertionError, HarnessError, OSError, ValueError) as error:
            troubles.append(f"{type(error).__name__}: {error}")
        between = any(text.startswith("between") for text in troubles)
        return Result(
            id=row.id,
            seed=seed,
            host="all",
            expected=row.expected,
            ended=Ending.BETWEEN if between else Ending.EACH,
            seconds=0.0,
            ok=not troubles,
            detail="\n".join(troubles),
            total=time.monotonic() - began,
        )

    def _scene(self, row: Row, seed: int) -> FleetScene:
        begin = {name: site.grip.look() for name, site in self.sites.items()}
        found = [text for name, site in self.sites.items() for text in site.troubles(begin[name])]
        assert not found, f"before the fault: {'; '.join(found)}"
        return FleetScene(
            sites=self.sites,
            workspace=self.workspace,
            row=row,
            seed=seed,
            begin=begin,
            random=Random(f"{row.id}:{seed}"),  # noqa: S311 it is to be repeated
        )

    def _harm(self, scene: FleetScene, troubles: list[str]) -> CommandResult | None:
        play: Callable[[Any], CommandResult | None] = scene.row.play
        try:
            with scene.undo:
                return play(scene)
        except (AssertionError, HarnessError) as error:
            troubles.append(f"in the play: {error}")
            return None

    def _converge(self, scene: FleetScene, troubles: list[str]) -> None:
        """The same release without the fault: all hosts come to it, and then stay as they are."""
        scene.configure()
        mended = self.workspace.up()
        found = [f"{mended.code}: {words_of(mended)}"] if mended.code else []
        recorded = self.workspace.recorded()
        for name, site in self.sites.items():
            last = rest(site)
            found += [f"{name}: {text}" for text in site.troubles(last)]
            if last.current != recorded.get(name) or last.current == scene.begin[name].current:
                found.append(f"{name}: it runs {last.current}, not {recorded.get(name)}")
        before = {name: site.host.started() for name, site in self.sites.items()}
        again = self.workspace.up()
        if again.code or set(again.summary()) != {"unchanged"}:
            found.append(f"once more, and it had something to do: {words_of(again)}")
        found += [
            f"{name}: once more, and units were started or stopped"
            for name, site in self.sites.items()
            if site.host.started() != before[name]
        ]
        troubles += [f"after the mending: {text}" for text in found]


def _judge(
    scene: FleetScene, result: CommandResult | None, last: dict[str, Vector], troubles: list[str]
) -> None:
    for name, vector in last.items():
        troubles += [f"{name}: {text}" for text in scene.sites[name].troubles(vector)]
        before = scene.begin[name]
        ended = Ending.OLD if vector.current == before.current else Ending.NEW
        if ended is Ending.NEW and vector.new != vector.current:
            troubles.append(f"between: {name} runs {vector.current}, and not {vector.new}")
        if name in scene.new and ended is not Ending.NEW:
            troubles.append(f"{name} ended OLD")
        if name in (*scene.old, *scene.untouched) and ended is not Ending.OLD:
            troubles.append(f"{name} ended NEW")
        if name in scene.untouched and vector.attempt != before.attempt:
            troubles.append(f"{name} was touched: attempt {vector.attempt} {vector.state}")
    if result is None:
        return
    if result.code == 0:
        troubles.append("a success was reported")
    if missing := [name for name in scene.old if name not in result.diagnostics()]:
        troubles.append(f"{', '.join(missing)} is not named: {words_of(result)}")
