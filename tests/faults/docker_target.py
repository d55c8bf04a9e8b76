"""A Docker service behind its edge, on a dockerd of the run's own: rows F22.

OLD and NEW are releases; clients that keep asking over HTTP see which of them serves.
"""

import http.client
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, Final, Self

from harness.command_result import CommandResult, Json
from harness.daemons import own_dockerd
from harness.daemons.daemon_proxy import DaemonProxy
from harness.daemons.own_dockerd import OwnDockerd
from harness.http_load import Load
from tests.e2e.docker_stack import (
    APP,
    EDGE,
    PARTS,
    DockerInspector,
    DockerStack,
    delete_built_images,
)
from tests.faults.row import Outcome, Row
from tests.faults.run import diagnostics_of
from tests.faults.target import Target, TargetScenario, differences

TIMEOUT: Final = 90.0
"""Seconds in which the service has to serve again once nothing is in progress."""
STABLE: Final = 1.5
"""Seconds of the same answer after which it counts as final."""
OTHER: Final = {"v1": "v2", "v2": "v1"}
"""The healthy releases."""
REDEPLOY_OLD: Final = 0.5
"""The share of injections with outcome OLD after which OLD is deployed again, and not NEW."""
BUILT_IN: Final = {"bridge", "host", "none"}
"""Networks of every daemon."""


@dataclass(slots=True, kw_only=True)
class ServiceScenario(TargetScenario):
    """An injection into a release of the service."""

    daemon: OwnDockerd
    stack: DockerStack
    inspector: DockerInspector
    old: str
    """The release that serves before."""
    serving: str
    """Its container."""
    load: Load

    def new_image(self) -> str:
        """The image that was loaded for the release."""
        known = self.daemon.seen.container(self.serving)["Config"]["Image"]
        (new,) = set(self.inspector.images()) - {known}
        return new


@dataclass(slots=True, kw_only=True)
class ServiceTarget(Target):
    """The stack and its daemon."""

    daemon: OwnDockerd
    proxy: DaemonProxy
    stack: DockerStack
    inspector: DockerInspector
    refs: dict[str, str] = field(default_factory=dict)
    """The names of the images seen so far, by release, and of the edge."""

    @classmethod
    @contextmanager
    def start(cls, parts: Mapping[str, Any]) -> Iterator[Self]:
        """Start a daemon, and deploy a stack whose service serves its first release."""
        folder = Path(tempfile.mkdtemp(prefix="flakeup-f22-"))
        try:
            with (
                own_dockerd.started() as daemon,
                DaemonProxy(folder / "sock", daemon.seen.socket) as proxy,
            ):
                stack = DockerStack.with_service(
                    folder / "main", str(parts["edge"]["layer"]), proxy
                )
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

    def scenario(self, row: Row, seed: int) -> ServiceScenario:
        self.proxy.reset()
        old = self.stack.release
        assert self.answer() == _answer_of(old), f"before the fault: {self.answer()}"
        return ServiceScenario(
            workspace=self.stack,
            proxy=self.proxy,
            row=row,
            seed=seed,
            random=Random(f"{row.id}:{seed}"),  # noqa: S311 it has to be repeatable
            new=self.stack.other,
            daemon=self.daemon,
            stack=self.stack,
            inspector=self.inspector,
            old=old,
            serving=self.stack.containers()["app"],
            load=Load(self.stack.port, network=self.stack.network),
        )

    def observing(self, scenario: ServiceScenario) -> AbstractContextManager[Load]:
        return scenario.load

    def outcome(self, scenario: ServiceScenario, problems: list[str]) -> tuple[Outcome, float]:
        final = self._final_answer(scenario.load)
        known = {_answer_of(scenario.old): Outcome.OLD, _answer_of(scenario.new): Outcome.NEW}
        outcome = known.get(final, Outcome.BETWEEN)
        if strange := {text for _, text in scenario.load.answers} - known.keys():
            problems.append(f"unexpected answers: {', '.join(sorted(strange))}")
        if scenario.row.no_downtime and scenario.load.lost:
            lost = len(scenario.load.lost)
            problems.append(f"{lost} requests failed, the first: {scenario.load.lost[0][1]}")
        if outcome is Outcome.OLD:
            problems += self._old_serves(scenario)
        if scenario.load.lost:
            times = [at for at, _ in scenario.load.lost]
            scenario.notes.append(f"no answer for {max(times) - min(times):.1f} s")
        return outcome, _seconds(scenario, final)

    def redeploy(self, scenario: ServiceScenario, outcome: Outcome) -> CommandResult:
        """Deploy NEW again or, depending on the seed, OLD: leftovers are removed either way."""
        wanted = OTHER[scenario.old]
        if outcome is Outcome.OLD and scenario.random.random() < REDEPLOY_OLD:
            wanted = scenario.old
        words = scenario.random.choice(((), ("--refresh",)))
        scenario.notes.append(" ".join(("then", wanted, *words)))
        scenario.new = wanted
        self.stack.write(appRef=wanted)
        return self.stack.up(*words)

    def repeat(self, scenario: ServiceScenario) -> CommandResult:
        result = self.stack.up()
        self.stack.release = scenario.new
        return result

    def deviations(self, scenario: ServiceScenario) -> list[str]:
        """There are one container, its edge, an image of each, one network, and nothing else."""
        known = self.stack.containers()
        found = differences("it answers", self.answer(), _answer_of(scenario.new))
        found += differences("containers of the state", set(known), {"app", "app-edge"})
        found_now = self.inventory()
        found += differences("containers", list(found_now["containers"]), sorted(known.values()))
        found += differences("traffic goes to", self.stack.traffic(), known.get("app"))
        for name, image in found_now["running"].items():
            part = "edge" if name == known.get("app-edge") else scenario.new
            found += differences(f"image of {name}", image, self.refs.setdefault(part, image))
        wanted = sorted((self.refs.get(scenario.new, ""), self.refs.get("edge", "")))
        if scenario.upload_was_killed:
            self._prune(scenario, set(found_now["images"]) - set(wanted))
            found_now = self.inventory()
        found += differences("images", found_now["images"], wanted)
        found += differences("networks", len(found_now["networks"]), 1)
        return found + differences("volumes", found_now["volumes"], [])

    def _prune(self, scenario: ServiceScenario, left: set[str]) -> None:
        """Remove the one image that nobody knows of, unless it is used."""
        if len(left) == 1:
            self.inspector.delete(f"/images/{left.pop()}")
            scenario.notes.append("its image was left in the daemon")

    def inventory(self) -> Json:
        get = partial(self.daemon.seen.request, "GET")
        containers = {str(one["Names"][0])[1:]: one for one in get("/containers/json?all=1")}
        networks = {one["Name"]: one["Id"] for one in get("/networks")}
        return {
            "containers": {name: containers[name]["Id"] for name in sorted(containers)},
            "running": {
                name: one["Image"] for name, one in containers.items() if one["State"] == "running"
            },
            "images": sorted(
                tag for one in get("/images/json") for tag in one["RepoTags"] or ("none",)
            ),
            "networks": {n: networks[n] for n in sorted(networks) if n not in BUILT_IN},
            "volumes": [one["Name"] for one in get("/volumes")["Volumes"] or ()],
        }

    def finish(self, scenario: ServiceScenario) -> list[str]:
        """Nothing to do: the next injection begins with the release that serves."""
        del scenario
        return []

    def reset(self) -> None:
        """Deploy v1, and note the names of its images."""
        self.proxy.reset()
        self.stack.cancel()
        self.stack.write(appRef="v1")
        result = self.stack.up("--refresh")
        assert result.code == 0, diagnostics_of(result)
        self.stack.release = "v1"
        (self.refs["v1"],), (self.refs["edge"],) = (
            self.inspector.images(APP),
            self.inspector.images(EDGE),
        )

    # --- observing -------------------------------------------------------------------------

    def answer(self) -> str:
        """What the service answers; empty if there is no answer."""
        with suppress(OSError, http.client.HTTPException):
            return self.stack.http_get()
        return ""

    def _final_answer(self, load: Load) -> str:
        """Wait until the service answers the same for a while, and return that."""
        end, began, last = time.monotonic() + TIMEOUT, time.monotonic(), ""
        while time.monotonic() < end:
            answer = self.answer()
            if not answer or answer != last:
                began, last = time.monotonic(), answer
            elif time.monotonic() - began > STABLE:
                return answer
            time.sleep(0.1)
        reason = load.lost[-1][1] if load.lost else "it keeps changing"
        msg = f"no stable answer after {TIMEOUT:g} s: {reason}"
        raise AssertionError(msg)

    def _old_serves(self, scenario: ServiceScenario) -> list[str]:
        """Check that the previous container runs, with its own image."""
        seen = self.daemon.seen.container(scenario.serving)
        found = differences("the previous container runs", seen["State"]["Running"], wanted=True)
        wanted = self.refs.setdefault(scenario.old, seen["Config"]["Image"])
        return found + differences("its image", seen["Config"]["Image"], wanted)


def _answer_of(release: str) -> str:
    return f"app {release} on docker"


def _seconds(scenario: ServiceScenario, final: str) -> float:
    """From the fault, or else from the start, to the last answer that is not the final one."""
    other = [at for at, text in scenario.load.answers if text != final]
    lost = [at for at, _ in scenario.load.lost]
    since = scenario.fault_time or scenario.began
    return max(0.0, max((*other, *lost), default=since) - since)


def why_unavailable(parts: Mapping[str, Any]) -> str:
    """Why this machine cannot run these rows; empty if it can."""
    for name in PARTS:
        if parts[name]["state"] != "ready":
            return f"no {name}: {parts[name]['reason']}; {parts[name]['remedy']}"
    return own_dockerd.why_not(dict(parts))
