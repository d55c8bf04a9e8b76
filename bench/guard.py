"""What the guard costs: one host switched by the program's classes, and by one ssh call.

Both systems are in the host's store from the start, both ways use the same ssh options, and they
take turns: each goes to what the other came from.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from bench.ground import Ground
from bench.measure import Samples
from components.pipeline.activation import protocol
from components.pipeline.activation.attempt import Attempt
from components.pipeline.activation.protocol import State
from components.pipeline.activation.request import AttemptRequest
from components.pipeline.config.stack import parse
from components.pipeline.errors import FlakeupError
from components.pipeline.process.run import Argv, run
from components.pipeline.process.timings import Timings
from components.pipeline.transport.ssh import Ssh, write_ssh_files
from components.pipeline.values import StorePath
from harness.hosts import ContainerHost, public_key
from harness.incus import HarnessError

PAIRS: Final = 7
"""At least so many: one switch takes a second or two, and the difference is of that size too."""
TIMEOUT: Final = 60.0
"""Seconds for one ssh call."""
_CHECKS: Final = {
    "app": {"http": "http://localhost:8080/", "contains": "app v"},
    "worker": {"unit": "app-worker.service"},
}
_BARE: Final = (
    "nix-env -p /nix/var/nix/profiles/system --set {system} &&"
    " {system}/bin/switch-to-configuration switch"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """A system that the host has in its store, and what its app answers."""

    system: StorePath
    answer: str

    @classmethod
    def running(cls, host: ContainerHost) -> "Release":
        """The one that a host runs now."""
        path = host.exec("readlink", "-e", "/run/current-system").strip()
        return cls(system=StorePath.parse(path), answer=host.http())


@dataclass(slots=True, kw_only=True)
class Switcher:
    """One host, and what it runs; both ways give the seconds that they took.

    Raises (both ways):
        HarnessError: the host does not run the release, or did not confirm it.
    """

    host: ContainerHost
    ssh: Ssh
    runs: Release
    stages: Timings = field(default_factory=Timings)
    """Where the time of the last guarded switch went, as far as the deployer sees it."""

    def guarded(self, release: Release) -> float:
        """Attempt, checks and commit, as the hook and the resource `switch` do it."""
        return self._timed(release, lambda: self._attempt(release))

    def bare(self, release: Release) -> float:
        """Set the profile, and switch: what is done without the program."""
        return self._timed(release, lambda: self._switch(release))

    def _timed(self, release: Release, work: Callable[[], None]) -> float:
        began = time.monotonic()
        try:
            work()
        except FlakeupError as error:
            raise HarnessError(str(error)) from error
        seconds = time.monotonic() - began
        self.runs = Release.running(self.host)
        if self.runs != release:
            msg = f"{self.host.name} runs {self.runs} after the switch to {release}"
            raise HarnessError(msg)
        return seconds

    def _switch(self, release: Release) -> None:
        text = _BARE.format(system=release.system.path)
        asyncio.run(run(self._plain(text), timeout=TIMEOUT))

    def _plain(self, text: str) -> Argv:
        return self.ssh.argv("/bin/sh", "-c", text)

    def _attempt(self, release: Release) -> None:
        asyncio.run(self._run(release))

    async def _run(self, release: Release) -> None:
        marks = _Marks()
        attempt = Attempt(
            transport=self.ssh,
            old=self.runs.system,
            new=release.system,
            request=AttemptRequest.of(self.ssh, by="bench", release="bench", values={}),
            progress=marks.add,
        )
        state = await attempt.run()
        marks.add("commit")
        # No input: the real one has none either, and the runner is on the host.
        argv = self.ssh.argv(protocol.ENTRY, release.system.path)
        said = protocol.parse(self.host.name, (await run(argv, timeout=TIMEOUT)).stdout)
        self.stages = marks.end()
        if state is not State.AWAITING or said.event != "committed":
            msg = f"{self.host.name} was not switched under guard: {state}, {said.event}"
            raise HarnessError(msg)


@dataclass(slots=True)
class _Marks:
    """Makes stages of what an attempt says of its progress: one ends where the next begins."""

    _stages: Timings = field(default_factory=Timings)
    _stage: str = "start"
    _began: float = field(default_factory=time.monotonic)

    def add(self, progress: str) -> None:
        self._stages.mark(self._stage, self._began)
        self._stage, self._began = progress.split(" ", 1)[0], time.monotonic()

    def end(self) -> Timings:
        self._stages.mark(self._stage, self._began)
        return self._stages


def guard(ground: Ground, samples: Samples, rounds: int) -> None:
    """Guarded switches of one host, and bare ones, in pairs; each way goes first in turn."""
    host = ground.hosts["web1"]
    first = Release.running(host)
    ground.by_hand(1, ground.next_release())
    switcher = Switcher(host=host, ssh=_ssh(ground, host), runs=Release.running(host))
    ways = (("guarded switch", switcher.guarded), ("bare switch", switcher.bare))
    other = first
    for pair in range(max(rounds, PAIRS) + 1):
        for name, way in ways if pair % 2 else reversed(ways):
            target, other = other, switcher.runs
            seconds = way(target)
            if pair:  # the first one fills caches
                samples.add(name, seconds)
        samples.stages["guarded switch"] = str(switcher.stages)


def _ssh(ground: Ground, host: ContainerHost) -> Ssh:
    """The host as a config has it that asks for no patience, and for two checks."""
    key = ground.keys / "client"
    spec = {"address": host.address, "hostKey": public_key(ground.keys / host.name)}
    raw = {
        "flake": "./flake",
        "hosts": {host.name: spec},
        "activation": {"settle": "0s", "checks": _CHECKS},
    }
    (parsed,) = parse(raw).hosts
    identity = write_ssh_files(ground.folder / "ssh", [parsed], key.read_text())
    return Ssh.of(parsed, identity)
