"""The testbed of a benchmark: hosts, an app with plenty of releases, and the stacks.

The stacks share the hosts: `fleet1` has the first, `fleet2` the first two, `fleet8` eight. The
stack `empty` belongs to a project that only imports pulumi: the baseline of the engine itself.
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

from bench.baseline import BaselineScript
from bench.inotify import check_inotify_limit
from harness import hosts
from harness.command_result import CommandResult
from harness.hosts import ContainerHost
from harness.incus import HarnessError
from harness.workspace import Workspace

RELEASES: Final = 100
"""Tags that are created in advance: each measured deployment uses a new one."""
PARALLEL: Final = "64"
"""PULUMI_PARALLEL, as the README recommends for fleets."""
EMPTY: Final = ("-C", "empty")
_EMPTY_PROJECT: Final = "name: empty\nruntime:\n  name: python\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """The number of hosts, and the duration of their activations."""

    prefix: str
    """Of the containers' names."""
    sizes: tuple[int, ...]
    """The number of hosts in each stack."""
    activation_seconds: int
    """Seconds that each activation sleeps."""

    @property
    def names(self) -> tuple[str, ...]:
        """The hosts' names, in the flake and in the config."""
        return tuple(f"web{number}" for number in range(1, max(self.sizes) + 1))


@dataclass(slots=True, kw_only=True)
class Testbed:
    """Everything is under `folder`, and created from scratch by `prepare`."""

    folder: Path
    scale: Scale
    hosts: Mapping[str, ContainerHost] = field(default_factory=dict)
    _releases_used: int = 0
    _deployed: dict[int, str] = field(default_factory=dict)
    """The release that the state of each stack records."""
    _runs: dict[str, str] = field(default_factory=dict)
    """The release that each host runs."""

    @property
    def keys(self) -> Path:
        """The folder of the hosts' keys and the client's."""
        return self.folder / "keys"

    @property
    def workspace(self) -> Workspace:
        """The project folder, with the app, the flake and all stacks."""
        return Workspace(folder=self.folder / "work")

    @property
    def script(self) -> BaselineScript:
        """What replaces `pulumi up` without the program."""
        largest = _stack(max(self.scale.sizes))
        return BaselineScript(
            folder=self.workspace.folder,
            identity=Path(f".flakeup/{largest}/ssh"),
            key=self.keys / "client",
        )

    def prepare(self) -> None:
        """Launch the hosts, and deploy the same release with each stack.

        Raises:
            HarnessError: this machine cannot run containers, or a step failed.
        """
        shutil.rmtree(self.workspace.folder, ignore_errors=True)
        os.environ["PULUMI_PARALLEL"] = PARALLEL
        # As on a user's machine, Python caches bytecode.
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        check_inotify_limit([f"{self.scale.prefix}-{name}" for name in self.scale.names])
        self.hosts = hosts.launch(self.scale.prefix, self.scale.names, self.keys)
        self.workspace.prepare()
        self._slow_down()
        _create_releases(self.workspace.folder / "app")
        secret = (self.keys / "client").read_text()
        first = self.next_release()
        for size in self.scale.sizes:
            self._create_stack(size, secret)
            self.up(size, first)
        self._create_empty()

    def remove(self) -> None:
        """Delete the hosts and the folder."""
        hosts.remove(self.scale.prefix)
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def plugin(self) -> str:
        """The `command` provider: the released one is a binary, the stand-in a script."""
        plugins = self.workspace.folder / "pulumi-home" / "plugins"
        (program,) = plugins.glob("resource-command-*/pulumi-resource-command")
        return "stand-in" if program.read_bytes().startswith(b"#!") else "released"

    def next_release(self) -> str:
        """A tag of the app that has not been used yet."""
        self._releases_used += 1
        return f"r{self._releases_used}"

    # --- measured commands -----------------------------------------------------------------

    def preview(self, size: int) -> CommandResult:
        """Run `pulumi preview` for a fleet."""
        return self.workspace.check("preview", "--stack", _stack(size))

    def up(self, size: int, ref: str | None = None, *, preview: bool = True) -> CommandResult:
        """Run `pulumi up --yes` for a fleet, with `ref` as its new appRef."""
        if ref:
            self.workspace.check("config", "set", "appRef", ref, "--stack", _stack(size))
        options = () if preview else ("--skip-preview",)
        result = self.workspace.check("up", "--yes", *options, "--stack", _stack(size))
        if ref:
            self._deployed[size] = ref
            self._runs.update(dict.fromkeys(self.scale.names[:size], ref))
        return result

    def empty(self, verb: str) -> CommandResult:
        """Run `pulumi preview` or `pulumi up --yes` for the empty program."""
        options = ("--yes",) if verb == "up" else ()
        return self.workspace.check(*EMPTY, verb, *options, "--stack", "empty")

    def deploy_by_script(self, size: int, ref: str) -> float:
        """Deploy with the baseline script; returns its seconds."""
        return self._deploy(self.scale.names[:size], ref)

    # --- preparation -----------------------------------------------------------------------

    def observe(self, size: int, value: str) -> None:
        """Set the config key `observe`."""
        self.workspace.check("config", "set", "observe", value, "--stack", _stack(size))

    def restore(self, size: int) -> None:
        """Deploy what the stack's state records, as other stacks have used the hosts meanwhile.

        Otherwise they have drifted, and the program would refuse to touch them.
        """
        ref = self._deployed[size]
        if drifted := [name for name in self.scale.names[:size] if self._runs[name] != ref]:
            self._deploy(drifted, ref)

    def _deploy(self, names: Sequence[str], ref: str) -> float:
        seconds = self.script.deploy({name: self.hosts[name].address for name in names}, ref)
        self._runs.update(dict.fromkeys(names, ref))
        return seconds

    def _slow_down(self) -> None:
        """Set the duration of the activations of all releases."""
        slow = {"activationSeconds": self.scale.activation_seconds}
        options = dict.fromkeys(self.scale.names, slow)
        (self.workspace.folder / "flake" / "hosts.json").write_text(json.dumps(options, indent=2))

    def _create_stack(self, size: int, secret: str) -> None:
        stack = ("--stack", _stack(size))
        self.workspace.check("stack", "init", *stack)
        # Measure the guard itself, not the waiting times of a config.
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

    def _create_empty(self) -> None:
        place = self.workspace.folder / "empty"
        place.mkdir()
        (place / "Pulumi.yaml").write_text(_EMPTY_PROJECT)
        (place / "__main__.py").write_text("import pulumi  # noqa: F401\n")
        self.workspace.check(*EMPTY, "stack", "init", "--stack", "empty")
        self.empty("up")


def _stack(size: int) -> str:
    return f"fleet{size}"


def _create_releases(repository: Path) -> None:
    """Create tags r1, r2, … by `git fast-import`, with versions that no other run has built."""
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
