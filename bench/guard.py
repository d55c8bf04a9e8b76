"""The cost of the guard: a host is switched by the pipeline's classes, and by one ssh call.

Both systems are in the host's store from the start, both ways use the same ssh options, and they
alternate between the two systems.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from bench.measure import Samples
from bench.testbed import Testbed
from components.pipeline.activation import protocol
from components.pipeline.activation.attempt import Attempt
from components.pipeline.activation.protocol import State
from components.pipeline.activation.request import AttemptRequest
from components.pipeline.config.stack import parse
from components.pipeline.errors import FlakeupError
from components.pipeline.process.run import Argv, run
from components.pipeline.process.timings import Timings
from components.pipeline.transport.ssh import Ssh
from components.pipeline.transport.ssh_files import write_ssh_files
from components.pipeline.values import StorePath
from harness.hosts import ContainerHost, public_key
from harness.incus import HarnessError

PAIRS: Final = 7
"""The minimum: a switch takes a second or two, and the difference is about as large."""
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
    """A system in the host's store, and what its app answers."""

    system: StorePath
    answer: str

    @classmethod
    def running(cls, host: ContainerHost) -> "Release":
        """The release that a host runs now."""
        path = host.query("readlink", "-e", "/run/current-system").strip()
        return cls(system=StorePath.parse(path), answer=host.http())


@dataclass(slots=True, kw_only=True)
class Switcher:
    """Switches a host; both ways return the seconds that they took.

    Raises (both ways):
        HarnessError: the host does not run the release, or did not commit it.
    """

    host: ContainerHost
    ssh: Ssh
    runs: Release
    stages: Timings = field(default_factory=Timings)
    """The timings of the last guarded switch, as the deployer sees them."""

    def guarded(self, release: Release) -> float:
        """Attempt, checks and commit, as by the hook and the resource `switch`."""
        return self._timed(release, lambda: self._attempt(release))

    def bare(self, release: Release) -> float:
        """Set the profile and switch, as without the program."""
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
        # Without stdin, like the resource: the runner is on the host already.
        argv = self.ssh.argv(*protocol.commit_argv(release.system))
        reply = protocol.parse(self.host.name, (await run(argv, timeout=TIMEOUT)).stdout)
        self.stages = marks.end()
        if state is not State.AWAITING or reply.event != "committed":
            msg = f"{self.host.name} did not commit the guarded switch: {state}, {reply.event}"
            raise HarnessError(msg)


@dataclass(slots=True)
class _Marks:
    """Turns the progress messages of an attempt into timings of its stages."""

    _stages: Timings = field(default_factory=Timings)
    _stage: str = "start"
    _began: float = field(default_factory=time.monotonic)

    def add(self, progress: str) -> None:
        self._stages.mark(self._stage, self._began)
        self._stage, self._began = progress.split(" ", 1)[0], time.monotonic()

    def end(self) -> Timings:
        self._stages.mark(self._stage, self._began)
        return self._stages


def guard(testbed: Testbed, samples: Samples, rounds: int) -> None:
    """Measure guarded and bare switches of a host, in pairs; each way goes first in turn."""
    host = testbed.hosts["web1"]
    first = Release.running(host)
    testbed.deploy_by_script(1, testbed.next_release())
    switcher = Switcher(host=host, ssh=_ssh(testbed, host), runs=Release.running(host))
    ways = (("guarded switch", switcher.guarded), ("bare switch", switcher.bare))
    other = first
    for pair in range(max(rounds, PAIRS) + 1):
        for name, way in ways if pair % 2 else reversed(ways):
            target, other = other, switcher.runs
            seconds = way(target)
            if pair:  # the first pair fills caches
                samples.add(name, seconds)
        samples.stages["guarded switch"] = str(switcher.stages)


def _ssh(testbed: Testbed, host: ContainerHost) -> Ssh:
    """A connection to the host, with a config without settle time and with two checks."""
    key = testbed.keys / "client"
    spec = {"address": host.address, "hostKey": public_key(testbed.keys / host.name)}
    raw = {
        "flake": "./flake",
        "hosts": {host.name: spec},
        "activation": {"settle": "0s", "checks": _CHECKS},
    }
    (parsed,) = parse(raw).hosts
    identity = write_ssh_files(testbed.folder / "ssh", [parsed], key.read_text())
    return Ssh.of(parsed, identity)
