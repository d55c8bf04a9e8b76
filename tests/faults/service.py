"""A Docker service behind its edge, on a dockerd of the run's own: rows F22.

OLD and NEW are releases: which one serves is asked over http, by clients that ask all the time.
"""

import http.client
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Final, Self

from harness.command_result import CommandResult, Json
from harness.daemons import own_dockerd
from harness.daemons.docker_proxy import DockerProxy
from harness.daemons.http_load import Load
from harness.daemons.own_dockerd import OwnDockerd
from tests.e2e.docker_stack import (
    APP,
    EDGE,
    PARTS,
    DockerInspector,
    DockerStack,
    delete_built_images,
)
from tests.faults.row import Ending, Row
from tests.faults.run import words_of
from tests.faults.target import Target, TargetScene, differences

PATIENCE: Final = 90.0
"""Seconds in which it has to serve again, once nothing is under way."""
STILL: Final = 1.5
"""Seconds of the same answer after which it is the one that stays."""
OTHER: Final = {"v1": "v2", "v2": "v1"}
"""The releases that work."""
BACK: Final = 0.5
"""How many of those that ended OLD are brought back to it, and not on to NEW."""
BUILT_IN: Final = {"bridge", "host", "none"}
"""Networks that every daemon has."""


@dataclass(slots=True, kw_only=True)
class ServiceScene(TargetScene):
    """One injection into a release of the service."""

    daemon: OwnDockerd
    stack: DockerStack
    inspector: DockerInspector
    old: str
    """The release that serves before."""
    serving: str
    """Its container."""
    load: Load

    def new_image(self) -> str:
        """The image that has been loaded for the release."""
        known = self.daemon.seen.container(self.serving)["Config"]["Image"]
        (new,) = set(self.inspector.images()) - {known}
        return new


@dataclass(slots=True, kw_only=True)
class Services(Target):
    """The stack and its daemon."""

    daemon: OwnDockerd
    proxy: DockerProxy
    stack: DockerStack
    inspector: DockerInspector
    refs: dict[str, str] = field(default_factory=dict)
    """The names of images that are known by now: of releases, and of the edge."""

    @classmethod
    @contextmanager
    def ready(cls, parts: Mapping[str, Any]) -> Iterator[Self]:
        """A daemon, and a stack whose service serves its first release."""
        folder = Path(tempfile.mkdtemp(prefix="flakeup-f22-"))
        try:
            with (
                own_dockerd.started() as daemon,
                DockerProxy(folder / "sock", daemon.seen.host) as proxy,
            ):
                stack = DockerStack.create(folder / "main", str(parts["edge"]["layer"]), proxy)
                stack.network = daemon.network
                made = cls(
                    name="docker",
                    daemon=daemon,
                    proxy=proxy,
                    stack=stack,
                    inspector=DockerInspector(daemon.seen),
                )
                made.reset()
                yield made
        finally:
            shutil.rmtree(folder)
            delete_built_images()

    # --- one injection ---------------------------------------------------------------------

    def scene(self, row: Row, seed: int) -> ServiceScene:
        self.proxy.forget()
        old = self.stack.release
        assert self.answer() == _says(old), f"before the fault: {self.answer()}"
        return ServiceScene(
            workspace=self.stack,
            proxy=self.proxy,
            row=row,
            seed=seed,
            random=Random(f"{row.id}:{seed}"),  # noqa: S311 it is to be repeated
            new=self.stack.other,
            daemon=self.daemon,
            stack=self.stack,
            inspector=self.inspector,
            old=old,
            serving=self.stack.containers()["app"],
            load=Load(self.stack.port, network=self.stack.network),
        )

    def watching(self, scene: ServiceScene) -> AbstractContextManager[Load]:
        return scene.load

    def ending(self, scene: ServiceScene, troubles: list[str]) -> tuple[Ending, float]:
        stays = self._stays(scene.load)
        known = {_says(scene.old): Ending.OLD, _says(scene.new): Ending.NEW}
        ended = known.get(stays, Ending.BETWEEN)
        if strange := {text for _, text in scene.load.answers} - known.keys():
            troubles.append(f"it answered {', '.join(sorted(strange))}")
        if scene.row.unnoticed and scene.load.lost:
            lost = len(scene.load.lost)
            troubles.append(f"{lost} requests were lost, the first by {scene.load.lost[0][1]}")
        if ended is Ending.OLD:
            troubles += self._old_serves(scene)
        if scene.load.lost:
            times = [at for at, _ in scene.load.lost]
            scene.notes.append(f"nobody answered for {max(times) - min(times):.1f} s")
        return ended, _seconds(scene, stays)

    def mend(self, scene: ServiceScene, ended: Ending) -> CommandResult:
        """To the release; or, as the seed has it, back to the one before: what was left goes."""
        wanted = OTHER[scene.old]
        if ended is Ending.OLD and scene.random.random() < BACK:
            wanted = scene.old
        words = scene.random.choice(((), ("--refresh",)))
        scene.notes.append(" ".join(("then", wanted, *words)))
        scene.new = wanted
        self.stack.write(appRef=wanted)
        return self.stack.up(*words)

    def repeat(self, scene: ServiceScene) -> CommandResult:
        result = self.stack.up()
        self.stack.release = scene.new
        return result

    def amiss(self, scene: ServiceScene) -> list[str]:
        """One container and its edge, an image for each, one network: and nothing else at all."""
        known = self.stack.containers()
        found = differences("it answers", self.answer(), _says(scene.new))
        found += differences("containers of the state", set(known), {"app", "app-edge"})
        there = self.there()
        found += differences("containers", list(there["containers"]), sorted(known.values()))
        found += differences("traffic goes to", self.stack.traffic(), known.get("app"))
        for name, image in there["running"].items():
            part = "edge" if name == known.get("app-edge") else scene.new
            found += differences(f"image of {name}", image, self.refs.setdefault(part, image))
        wanted = sorted((self.refs.get(scene.new, ""), self.refs.get("edge", "")))
        found += differences("images", there["images"], wanted)
        found += differences("networks", len(there["networks"]), 1)
        return found + differences("volumes", there["volumes"], [])

    def there(self) -> Json:
        asked = self.daemon.seen.ask
        containers = {
            str(one["Names"][0])[1:]: one for one in asked("GET", "/containers/json?all=1")
        }
        networks = {one["Name"]: one["Id"] for one in asked("GET", "/networks")}
        return {
            "containers": {name: containers[name]["Id"] for name in sorted(containers)},
            "running": {
                name: one["Image"] for name, one in containers.items() if one["State"] == "running"
            },
            "images": sorted(
                tag for one in asked("GET", "/images/json") for tag in one["RepoTags"] or ("none",)
            ),
            "networks": {n: networks[n] for n in sorted(networks) if n not in BUILT_IN},
            "volumes": [one["Name"] for one in asked("GET", "/volumes")["Volumes"] or ()],
        }

    def leave(self, scene: ServiceScene) -> list[str]:
        """The release serves on: the next injection begins with it."""
        del scene
        return []

    def reset(self) -> None:
        """All of it is on v1, with the names of its images."""
        self.proxy.forget()
        self.stack.cancel()
        self.stack.write(appRef="v1")
        result = self.stack.up("--refresh")
        assert result.code == 0, words_of(result)
        self.stack.release = "v1"
        (self.refs["v1"],), (self.refs["edge"],) = (
            self.inspector.images(APP),
            self.inspector.images(EDGE),
        )

    # --- looking ---------------------------------------------------------------------------

    def answer(self) -> str:
        """What the service answers; nothing where nobody does."""
        with suppress(OSError, http.client.HTTPException):
            return self.stack.ask()
        return ""

    def _stays(self, load: Load) -> str:
        """The answer that stays, once there is one."""
        end, began, last = time.monotonic() + PATIENCE, time.monotonic(), ""
        while time.monotonic() < end:
            result = self.answer()
            if not result or result != last:
                began, last = time.monotonic(), result
            elif time.monotonic() - began > STILL:
                return result
            time.sleep(0.1)
        text = load.lost[-1][1] if load.lost else "it changes all the time"
        msg = f"no answer that stays after {PATIENCE:g} s: {text}"
        raise AssertionError(msg)

    def _old_serves(self, scene: ServiceScene) -> list[str]:
        """The container of before runs, with its image by the name of its hash."""
        seen = self.daemon.seen.container(scene.serving)
        found = differences("the container of before runs", seen["State"]["Running"], wanted=True)
        wanted = self.refs.setdefault(scene.old, seen["Config"]["Image"])
        return found + differences("its image", seen["Config"]["Image"], wanted)


def _says(release: str) -> str:
    return f"app {release} on docker"


def _seconds(scene: ServiceScene, stays: str) -> float:
    """From the harm, or else from the beginning, to the last time that it was not as it stays."""
    other = [at for at, text in scene.load.answers if text != stays]
    lost = [at for at, _ in scene.load.lost]
    since = scene.fault or scene.began
    return max(0.0, max((*other, *lost), default=since) - since)


def missing(parts: Mapping[str, Any]) -> str:
    """Why its rows cannot be played here; empty where they can."""
    for name in PARTS:
        if parts[name]["state"] != "ready":
            return f"no {name}: {parts[name]['reason']}; {parts[name]['remedy']}"
    return own_dockerd.why_not(dict(parts))
