"""A Pulumi project of its own around the program, against real hosts: what the tests drive.

Everything is in a temporary folder: project, plugins, state, caches, home, app and flake. Nothing
of the user's is read, and no file of the repository is changed.
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
from harness.state import recorded
from harness.workspace import PROGRAM
from tests.e2e.processes import descendants, in_session, kill

ROOT = Path(__file__).resolve().parents[2]
ENV = str(ROOT / "tools" / "env")
STACK = "e2e"
PREFIX = "flakeup-e2e"
USERS = {"web1": "root", "web2": "deploy", "web3": "root"}
TIMES = {
    "timeout": "30s",
    "settle": "0s",
    "checkDeadline": "15s",
    "confirm": "20s",
    "commit": "20s",
}
"""Hosts at hand need less patience than the defaults have."""
TIMEOUT = 120.0
"""Seconds for one command."""
PRIVATE = ("SSH_AUTH_SOCK", "XDG_CACHE_HOME", "XDG_CONFIG_HOME")
"""What is not handed on: neither a person's keys nor a person's caches are used."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """What all clones of a project share: the state, and the stack's config as it was made."""

    state: Path
    secrets: dict[str, Any] = field(default_factory=dict)
    """`encryptionsalt` and the encrypted `sshKey`, once there are any."""


@dataclass(slots=True, kw_only=True)
class Workspace:
    """One clone of the project, and one user's environment."""

    folder: Path
    backend: Backend
    user: Path
    """The user's home: caches and Pulumi's own folder are in it."""
    config: Json = field(default_factory=dict)
    prefix: tuple[str, ...] = ()
    """Words before each `pulumi`, such as `unshare`."""
    settled: bool = False
    """Whether nothing was deployed since the hosts were brought to v1."""

    @classmethod
    def make(cls, folder: Path, backend: Backend, app_url: str) -> Self:
        """A clone in `folder`, with plugin and flake."""
        made = cls(folder=folder / "project", backend=backend, user=folder / "home")
        made.user.mkdir(parents=True)
        made._link_program()
        made._do(str(ROOT / "demo" / "render-flake"), str(made.folder / "flake"), app_url)
        made._do(str(ROOT / "tools" / "install-plugins"), str(made.user / ".pulumi"))
        return made

    def clone(self, folder: Path) -> "Workspace":
        """The same project and stack at another place, with another home and empty caches."""
        made = Workspace(
            folder=folder / "elsewhere" / "project",
            backend=self.backend,
            user=folder / "somebody",
        )
        made.user.mkdir(parents=True)
        made._link_program()
        # Copied without times and in another order: neither may matter.
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
        """What commands get: the tools' environment, and this user's own places."""
        kept = {
            name: value
            for name, value in os.environ.items()
            if name not in PRIVATE and not name.startswith("PULUMI_")
        }
        return {
            **kept,
            "HOME": str(self.user),
            "PULUMI_HOME": str(self.user / ".pulumi"),
            "PULUMI_BACKEND_URL": f"file://{self.backend.state}",
            "PULUMI_CONFIG_PASSPHRASE": "",
            "PULUMI_STACK": STACK,
        }

    # --- config ----------------------------------------------------------------------------

    def init(self, hosts: Mapping[str, ContainerHost], key: str) -> None:
        """Make the stack, and its config for `hosts`; `key` is what to log in with."""
        self.backend.state.mkdir(parents=True, exist_ok=True)
        self._do("pulumi", "stack", "init", STACK)
        self._do("pulumi", "config", "set", "--secret", "sshKey", stdin=key)
        made = yaml.safe_load(self._file.read_text())
        self.backend.secrets.update(
            encryptionsalt=made["encryptionsalt"], sshKey=made["config"]["flakeup:sshKey"]
        )
        self.config = {
            "flake": "./flake",
            "hosts": {n: spec(host) for n, host in hosts.items()},
            "activation": dict(TIMES),
            "rollout": {"canary": 0},  # one wave instead of two is seconds for each `up`
        }

    def write(self, **changes: Any) -> None:
        """Write the config with some keys changed; None leaves a key out. Nothing is remembered."""
        wanted = {"sshKey": self.backend.secrets["sshKey"], **self.config, **changes}
        body = {f"flakeup:{key}": value for key, value in wanted.items() if value is not None}
        whole = {"encryptionsalt": self.backend.secrets["encryptionsalt"], "config": body}
        self._file.write_text(yaml.safe_dump(whole, sort_keys=False))

    def hosts(self, *names: str, **changes: Json) -> Json:
        """The hosts of the config (all, or those named), with some keys of some changed."""
        chosen = names or tuple(self.config["hosts"])
        return {name: {**self.config["hosts"][name], **changes.get(name, {})} for name in chosen}

    def config_set(self, key: str, value: str) -> None:
        """`pulumi config set`, as a person types it."""
        self._do("pulumi", "config", "set", key, value)

    def fleet(self, **options: Json) -> None:
        """Rewrite the flake's hosts.json: options of hosts, e.g. faults; no words restore it."""
        names = [f"web{number}" for number in range(1, 17)]
        text = json.dumps({name: options.get(name, {}) for name in names}, indent=2)
        (self.folder / "flake" / "hosts.json").write_text(text + "\n")

    # --- commands --------------------------------------------------------------------------

    def up(self, *words: str) -> CommandResult:
        """`pulumi up`, without the preview before it."""
        return self.pulumi("up", "--yes", "--skip-preview", *words)

    def settle(self) -> None:
        """Bring the hosts to v1, with the fleet and the config as they were at first."""
        self.fleet()
        self.write(appRef="v1")
        if not self.settled:
            result = self.up()
            assert result.code == 0, result.text
        self.settled = True

    def preview(self, *words: str) -> CommandResult:
        return self.pulumi("preview", *words)

    def state(self, *words: str) -> Json:
        """The deployment in the state: `pulumi stack export`."""
        found: Json = self.pulumi("stack", "export", *words).json["deployment"]
        return found

    def cancel(self) -> bool:
        """What a person does after an `up` that was killed; whether the state needed mending."""
        # The file backend writes it in place, and refuses to read the state where it is empty.
        cut = [file for file in self.backend.state.rglob("*.attrs") if not file.read_bytes()]
        for file in cut:
            file.unlink()
        self.pulumi("cancel", "--yes")
        return bool(cut)

    def recorded(self) -> dict[str, str]:
        """What the state says each host was deployed as, from the text of its `switch`."""
        return recorded(self.state().get("resources", ()))

    def outputs(self) -> Json:
        return self.pulumi("stack", "output", "--json").json

    def pulumi(self, *words: str, timeout: float = TIMEOUT) -> CommandResult:
        """Run `pulumi WORDS` here, without questions and colours."""
        with self.running(*words) as engine:
            return engine.end(timeout)

    @contextmanager
    def running(self, *words: str) -> Iterator["Engine"]:
        """`pulumi WORDS` under way, in a session of its own; what is left of it is ended."""
        began = time.monotonic()
        self.settled = self.settled and "up" not in words
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
    """A `pulumi` that runs."""

    process: "subprocess.Popen[str]"
    began: float
    _lines: list[str] = field(default_factory=list)

    def read_until(self, pattern: str) -> str:
        """Read its output up to the first line that matches."""
        for line in self.process.stdout or ():
            self._lines.append(line)
            if re.search(pattern, line):
                return line
        text = "".join(self._lines)
        msg = f"it ended before it said {pattern}:\n{text}"
        raise AssertionError(msg)

    def end(self, timeout: float = TIMEOUT) -> CommandResult:
        """Wait for its end; one that takes longer fails the test with what it said."""
        try:
            rest, _ = self.process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired as late:
            self.kill()
            msg = f"no end after {timeout:g} s: {(late.stdout or b'')[-2000:]!r}"
            raise AssertionError(msg) from None
        text = "".join(self._lines) + rest
        seconds = time.monotonic() - self.began
        return CommandResult(code=self.process.returncode, text=text, seconds=seconds)

    def kill(self) -> None:
        """KILL it and all it has started, as when a machine loses power."""
        # What a process starts while the others are being ended is found at the next look.
        tree = descendants(self.process.pid) if self.process.poll() is None else ()
        while tree:
            kill(tree)
            tree = in_session(self.process.pid)
        self.process.wait()
        if self.process.stdout:
            self.process.stdout.close()


def spec(host: ContainerHost) -> Json:
    """A host as the config has it."""
    user = USERS.get(host.name, "root")
    place = {"address": host.address, "hostKey": host.host_key}
    return place if user == "root" else {**place, "user": user}


def wait_for(what: Callable[[], bool], seconds: float = 20) -> None:
    """Wait until something has become true."""
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, f"not so after {seconds:g} s"
        time.sleep(0.1)
