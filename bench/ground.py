"""What is measured on: hosts, an app with as many releases as are wanted, and the stacks.

The stacks share the hosts: `fleet1` has the first, `fleet2` the first two, `fleet8` eight. The
stack `empty` belongs to a project that only imports pulumi: the floor of the engine itself.
"""

import json
import os
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from bench.floor import Shell
from bench.room import check_room
from harness import hosts
from harness.command_result import CommandResult
from harness.hosts import ContainerHost
from harness.incus import HarnessError
from harness.workspace import Workspace

RELEASES: Final = 100
"""Tags made ahead: each measured deployment takes one that nobody has built or copied yet."""
PARALLEL: Final = "64"
"""PULUMI_PARALLEL, as the README advises for fleets."""
EMPTY: Final = ("-C", "empty")
_EMPTY_PROJECT: Final = "name: empty\nruntime:\n  name: python\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How many hosts there are, and how slow."""

    prefix: str
    """Of the containers' names."""
    sizes: tuple[int, ...]
    """A stack for each: with the first so many hosts."""
    activation_seconds: int
    """What every activation sleeps."""

    @property
    def names(self) -> tuple[str, ...]:
        """The hosts' names, in the flake and in the config."""
        return tuple(f"web{number}" for number in range(1, max(self.sizes) + 1))


@dataclass(slots=True, kw_only=True)
class Ground:
    """The place of a benchmark: everything is under `folder`, and made anew by `prepare`."""

    folder: Path
    scale: Scale
    hosts: Mapping[str, ContainerHost] = field(default_factory=dict)
    _taken: int = 0
    _deployed: dict[int, str] = field(default_factory=dict)
    """What the state of each stack says that its hosts run."""
    _runs: dict[str, str] = field(default_factory=dict)
    """What each host runs."""

    @property
    def keys(self) -> Path:
        """The hosts' keys, and the one that they let in."""
        return self.folder / "keys"

    @property
    def workspace(self) -> Workspace:
        """The project folder, with the app, the flake and all stacks."""
        return Workspace(folder=self.folder / "work")

    @property
    def shell(self) -> Shell:
        """What a person would type instead of `pulumi up`."""
        largest = _stack(max(self.scale.sizes))
        return Shell(folder=self.workspace.folder, identity=Path(f".flakeup/{largest}/ssh"))

    def prepare(self) -> None:
        """Bring up the hosts, and each stack on the same release.

        Raises:
            HarnessError: this machine has no containers, or a step failed.
        """
        shutil.rmtree(self.workspace.folder, ignore_errors=True)
        os.environ["PULUMI_PARALLEL"] = PARALLEL
        # As on a person's machine: Python keeps the bytecode of what it has imported.
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        check_room([f"{self.scale.prefix}-{name}" for name in self.scale.names])
        self.hosts = hosts.launch(self.scale.prefix, self.scale.names, self.keys)
        self.workspace.prepare()
        self._slow_down()
        _make_releases(self.workspace.folder / "app")
        secret = (self.keys / "client").read_text()
        first = self.next_release()
        for size in self.scale.sizes:
            self._make_stack(size, secret)
            self.up(size, first)
        self._make_empty()

    def remove(self) -> None:
        """Delete the hosts, and the folder."""
        hosts.remove(self.scale.prefix)
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def plugin(self) -> str:
        """Which `command` provider is measured: Pulumi's own is a binary, the stand-in a script."""
        plugins = self.workspace.folder / "pulumi-home" / "plugins"
        (program,) = plugins.glob("resource-command-*/pulumi-resource-command")
        return "stand-in" if program.read_bytes().startswith(b"#!") else "released"

    def next_release(self) -> str:
        """A tag of the app that has been used for nothing yet."""
        self._taken += 1
        return f"r{self._taken}"

    # --- what is measured ------------------------------------------------------------------

    def preview(self, size: int) -> CommandResult:
        """`pulumi preview` of a fleet."""
        return self.workspace.check("preview", "--stack", _stack(size))

    def up(self, size: int, ref: str | None = None, *, preview: bool = True) -> CommandResult:
        """`pulumi up --yes` of a fleet; with `ref`, after that was set as its appRef."""
        if ref:
            self.workspace.check("config", "set", "appRef", ref, "--stack", _stack(size))
        options = () if preview else ("--skip-preview",)
        result = self.workspace.check("up", "--yes", *options, "--stack", _stack(size))
        if ref:
            self._deployed[size] = ref
            self._runs.update(dict.fromkeys(self.scale.names[:size], ref))
        return result

    def empty(self, verb: str) -> CommandResult:
        """`pulumi preview`, or `up --yes`, of the empty program."""
        options = ("--yes",) if verb == "up" else ()
        return self.workspace.check(*EMPTY, verb, *options, "--stack", "empty")

    def by_hand(self, size: int, ref: str) -> float:
        """Deploy with the bare shell script; gives its seconds."""
        return self._deploy(self.scale.names[:size], ref)

    # --- and what is not -------------------------------------------------------------------

    def observe(self, size: int, value: str) -> None:
        """Set whether previews ask the hosts."""
        self.workspace.check("config", "set", "observe", value, "--stack", _stack(size))

    def restore(self, size: int) -> None:
        """Bring the hosts to what the stack's state says: the others have used them meanwhile.

        Otherwise they have drifted, and the program would refuse to touch them.
        """
        ref = self._deployed[size]
        if strayed := [name for name in self.scale.names[:size] if self._runs[name] != ref]:
            self._deploy(strayed, ref)

    def _deploy(self, names: Sequence[str], ref: str) -> float:
        seconds = self.shell.deploy({name: self.hosts[name].address for name in names}, ref)
        self._runs.update(dict.fromkeys(names, ref))
        return seconds

    def _slow_down(self) -> None:
        """Make every activation take its seconds, in all releases."""
        slow = {"activationSeconds": self.scale.activation_seconds}
        options = dict.fromkeys(self.scale.names, slow)
        (self.workspace.folder / "flake" / "hosts.json").write_text(json.dumps(options, indent=2))

    def _make_stack(self, size: int, secret: str) -> None:
        stack = ("--stack", _stack(size))
        self.workspace.check("stack", "init", *stack)
        # What is measured is the guard itself: not the patience that a config may ask for.
        values = {
            "appRef": "r1",
            "flake": "./flake",
            "appInput": "app",
            "activation.settle": "0s",
            "rollout.canary": "0",
        }
        for name in self.scale.names[:size]:
            values[f"hosts.{name}.address"] = self.hosts[name].address
            values[f"hosts.{name}.hostKey"] = self.hosts[name].host_key
        words = (word for item in values.items() for word in ("--plaintext", "=".join(item)))
        self.workspace.check("config", "set-all", "--path", *words, *stack)
        self.workspace.check("config", "set", "--secret", "sshKey", *stack, stdin=secret)

    def _make_empty(self) -> None:
        place = self.workspace.folder / "empty"
        place.mkdir()
        (place / "Pulumi.yaml").write_text(_EMPTY_PROJECT)
        (place / "__main__.py").write_text("import pulumi  # noqa: F401\n")
        self.workspace.check(*EMPTY, "stack", "init", "--stack", "empty")
        self.empty("up")


def _stack(size: int) -> str:
    return f"fleet{size}"


def _make_releases(repository: Path) -> None:
    """Commits with tags r1, r2, …, whose versions no other run has built: for `git fast-import`."""
    run = int(time.time())
    text = "".join(
        f"commit refs/tags/r{number}\ncommitter Bench <bench@example.org> {run + number} +0000\n"
        f"data 0\nfrom refs/heads/main^0\n"
        f"M 100644 inline VERSION\n{_data(f'{run}.{number}')}\n"
        for number in range(1, RELEASES + 1)
    )
    argv = ("git", "-C", str(repository), "fast-import", "--quiet")
    done = subprocess.run(argv, input=text, text=True, capture_output=True, timeout=60, check=False)
    if done.returncode:
        msg = f"git fast-import: {done.stderr.strip()[-500:]}"
        raise HarnessError(msg)


def _data(version: str) -> str:
    return f"data {len(version) + 1}\n{version}\n"
