"""A Pulumi project with the program, deployed to real hosts by the tests.

Everything is in a temporary folder: project, plugins, state, caches, home, app and flake. No file
of the user is read, and no file of the repository is changed.
"""

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import yaml

from harness.command_result import CommandResult, Json
from harness.hosts import ContainerHost
from harness.incus import own_prefix
from harness.state import recorded
from harness.workspace import PROGRAM
from tests.e2e.processes import descendants, in_session, kill

ROOT = Path(__file__).resolve().parents[2]
ENV = str(ROOT / "tools" / "env")
STACK = "e2e"
PREFIX = own_prefix(f"flakeup-e2e{os.environ.get('PYTEST_XDIST_WORKER', '')}")
"""Each worker has a stack with its own hosts, so that modules can run in parallel."""
USERS = {"web1": "root", "web2": "deploy", "web3": "root"}
FAST_ACTIVATION = {
    "timeout": "30s",
    "settle": "0s",
    "checkDeadline": "15s",
    "confirm": "60s",
    "commit": "60s",
}
"""Shorter than the defaults, as the hosts are on the same machine."""
TIMEOUT = 240.0
"""Seconds for one command."""
PRIVATE = ("SSH_AUTH_SOCK", "XDG_CACHE_HOME", "XDG_CONFIG_HOME")
"""Variables that are not passed on, so that neither the user's keys nor caches are used."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """What all clones of a project share: the state, and the secrets of the stack's config."""

    state: Path
    secrets: dict[str, Any] = field(default_factory=dict)
    """`encryptionsalt` and the encrypted `sshKey`, once the stack is initialised."""


@dataclass(slots=True, kw_only=True)
class Workspace:
    """A clone of the project, with the environment of one user."""

    folder: Path
    backend: Backend
    user: Path
    """The user's home, with caches and Pulumi's own folder."""
    config: Json = field(default_factory=dict)
    prefix: tuple[str, ...] = ()
    """A command before each `pulumi`, such as `unshare`."""
    pristine: bool = False
    """Whether nothing was deployed since `reset`."""

    @classmethod
    def create(cls, folder: Path, backend: Backend, app_url: str) -> Self:
        """Create a clone in `folder`, with plugins and flake."""
        made = cls(folder=folder / "project", backend=backend, user=folder / "home")
        made.user.mkdir(parents=True)
        made._link_program()
        made._do(str(ROOT / "demo" / "render-flake"), str(made.folder / "flake"), app_url)
        made._do(str(ROOT / "tools" / "install-plugins"), str(made.user / ".pulumi"))
        return made

    def clone(self, folder: Path) -> "Workspace":
        """Clone project and stack into another folder, with another home and empty caches."""
        made = Workspace(
            folder=folder / "elsewhere" / "project",
            backend=self.backend,
            user=folder / "somebody",
        )
        made.user.mkdir(parents=True)
        made._link_program()
        # Without modification times and in another order, as neither may matter.
        shutil.copytree(self.folder / "flake", made.folder / "flake", copy_function=shutil.copyfile)
        for script in (self.folder / "flake").rglob("*"):
            made_script = made.folder / "flake" / script.relative_to(self.folder / "flake")
            made_script.chmod(script.stat().st_mode)
        shutil.copyfile(self._file, made._file)
        made.config = self.config
        made._do(str(ROOT / "tools" / "install-plugins"), str(made.user / ".pulumi"))
        return made

    def _link_program(self) -> None:
        self.folder.mkdir(parents=True)
        for name in PROGRAM:
            (self.folder / name).symlink_to(ROOT / name)

    @property
    def _file(self) -> Path:
        return self.folder / f"Pulumi.{STACK}.yaml"

    @property
    def environment(self) -> dict[str, str]:
        """The environment of commands: that of the tools, with this user's own folders."""
        kept = {
            name: value
            for name, value in os.environ.items()
            if name not in PRIVATE and not name.startswith("PULUMI_")
        }
        return {
            **kept,
            "HOME": str(self.user),
            "PULUMI_HOME": str(self.user / ".pulumi"),
            # Without attributes, which a killed engine may leave empty.
            "PULUMI_BACKEND_URL": f"file://{self.backend.state}?metadata=skip",
            "PULUMI_CONFIG_PASSPHRASE": "",
            "PULUMI_STACK": STACK,
        }

    # --- config ----------------------------------------------------------------------------

    def init(self, hosts: Mapping[str, ContainerHost], key: str) -> None:
        """Create the stack, and its config for `hosts`; `key` is the private key to log in with."""
        self.backend.state.mkdir(parents=True, exist_ok=True)
        self._do("pulumi", "stack", "init", STACK)
        self._do("pulumi", "config", "set", "--secret", "sshKey", stdin=key)
        made = yaml.safe_load(self._file.read_text())
        self.backend.secrets.update(
            encryptionsalt=made["encryptionsalt"], sshKey=made["config"]["flakeup:sshKey"]
        )
        self.config = {
            "flake": "./flake",
            "hosts": {n: host_config(host) for n, host in hosts.items()},
            "activation": dict(FAST_ACTIVATION),
            "rollout": {"canary": 0},  # one wave instead of two saves seconds in each `up`
        }

    def write(self, **changes: Any) -> None:
        """Write the config with some keys changed for now; None leaves a key out."""
        wanted = {"sshKey": self.backend.secrets["sshKey"], **self.config, **changes}
        body = {f"flakeup:{key}": value for key, value in wanted.items() if value is not None}
        whole = {"encryptionsalt": self.backend.secrets["encryptionsalt"], "config": body}
        self._file.write_text(yaml.safe_dump(whole, sort_keys=False))

    def hosts(self, *names: str, **changes: Json) -> Json:
        """The `hosts` of the config, all or some of them, with some keys of some changed."""
        chosen = names or tuple(self.config["hosts"])
        return {name: {**self.config["hosts"][name], **changes.get(name, {})} for name in chosen}

    def config_set(self, key: str, value: str) -> None:
        """Run `pulumi config set`."""
        self._do("pulumi", "config", "set", key, value)

    def fleet(self, **options: Json) -> None:
        """Rewrite the flake's hosts.json with options of hosts, such as faults."""
        names = [f"web{number}" for number in range(1, 17)]
        text = json.dumps({name: options.get(name, {}) for name in names}, indent=2)
        (self.folder / "flake" / "hosts.json").write_text(text + "\n")

    # --- commands --------------------------------------------------------------------------

    def up(self, *words: str) -> CommandResult:
        """Run `pulumi up` without its preview."""
        return self.pulumi("up", "--yes", "--skip-preview", *words)

    def reset(self) -> None:
        """Restore the initial flake and config, and deploy v1 unless it is deployed."""
        self.fleet()
        self.write(appRef="v1")
        if not self.pristine:
            result = self.up()
            assert result.code == 0, result.text
        self.pristine = True

    def preview(self, *words: str) -> CommandResult:
        return self.pulumi("preview", *words)

    def state(self, *words: str) -> Json:
        """The deployment in the state, by `pulumi stack export`."""
        found: Json = self.pulumi("stack", "export", *words).json["deployment"]
        return found

    def cancel(self) -> bool:
        """Run `pulumi cancel`, as after a killed `up`; returns whether the state was repaired."""
        # The file backend writes these in place, and cannot read the state if one is empty.
        truncated = [file for file in self.backend.state.rglob("*.attrs") if not file.read_bytes()]
        for file in truncated:
            file.unlink()
        self.pulumi("cancel", "--yes")
        return bool(truncated)

    def recorded(self) -> dict[str, str]:
        """The system that the state records for each host."""
        return recorded(self.state().get("resources", ()))

    def outputs(self) -> Json:
        return self.pulumi("stack", "output", "--json").json

    def pulumi(self, *words: str, timeout: float = TIMEOUT) -> CommandResult:
        """Run `pulumi` in the project, without prompts and colours."""
        with self.running(*words) as engine:
            return engine.wait(timeout)

    @contextmanager
    def running(self, *words: str) -> Iterator["Engine"]:
        """Run `pulumi` during the block, in a session of its own, which is killed at the end."""
        began = time.monotonic()
        self.pristine = self.pristine and "up" not in words
        process = subprocess.Popen(
            (*self.prefix, ENV, "pulumi", *words, "--non-interactive", "--color", "never"),
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="surrogateescape",
            start_new_session=True,
        )
        engine = Engine(process=process, began=began)
        try:
            yield engine
        finally:
            engine.kill()

    def _do(self, *argv: str, stdin: str = "") -> str:
        done = subprocess.run(
            (ENV, *argv),
            cwd=self.folder,
            env=self.environment,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )
        assert done.returncode == 0, f"{argv[:3]}: {done.stdout}{done.stderr}"
        return done.stdout


@dataclass(slots=True, kw_only=True)
class Engine:
    """A running `pulumi` command."""

    process: "subprocess.Popen[str]"
    began: float
    _lines: list[str] = field(default_factory=list)

    def read_until(self, pattern: str) -> str:
        """Read the output up to the first line that matches, and return that."""
        for line in self.process.stdout or ():
            self._lines.append(line)
            if re.search(pattern, line):
                return line
        text = "".join(self._lines)
        msg = f"it exited before it printed {pattern}:\n{text}"
        raise AssertionError(msg)

    def wait(self, timeout: float = TIMEOUT) -> CommandResult:
        """Wait until it has exited; a timeout fails the test with the end of the output."""
        try:
            rest, _ = self.process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired as late:
            self.kill()
            msg = f"still running after {timeout:g} s: {(late.stdout or b'')[-2000:]!r}"
            raise AssertionError(msg) from None
        text = "".join(self._lines) + rest
        seconds = time.monotonic() - self.began
        return CommandResult(code=self.process.returncode, text=text, seconds=seconds)

    def kill(self) -> None:
        """Kill it and all its descendants, as a power cut does."""
        # Processes that are started meanwhile are found in the next round.
        tree = descendants(self.process.pid) if self.process.poll() is None else ()
        while tree:
            kill(tree)
            tree = in_session(self.process.pid)
        self.process.wait()
        if self.process.stdout:
            self.process.stdout.close()


def host_config(host: ContainerHost) -> Json:
    """The config of a host."""
    user = USERS.get(host.name, "root")
    config = {"address": host.address, "hostKey": host.host_key}
    return config if user == "root" else {**config, "user": user}


def wait_for(condition: Callable[[], bool], seconds: float = 20) -> None:
    """Poll a condition until it holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"still false after {seconds:g} s"
        time.sleep(0.1)
