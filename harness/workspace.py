"""A folder with a Pulumi project that runs this program, for the demo and the benchmark.

Generated keys, config and state are in there; no file of the repository is changed.
"""

import hashlib
import json
import os
import shlex
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from harness.command_result import CommandResult
from harness.hosts import make_key
from harness.incus import ROOT, HarnessError

STACK = "dev"
PROGRAM = ("__main__.py", "components", "providers", "Pulumi.yaml", ".venv")
TEMPLATE = f"Pulumi.{STACK}.yaml"
TIMEOUT = 300.0
"""Seconds for one command."""
GRACE = 60.0
"""Seconds for an interrupted engine to finish what is in progress."""


class Recorder(Protocol):
    """What is shown the commands, such as `demo.terminal.Terminal`."""

    def command(self, text: str) -> None:
        """Record a command, as typed."""

    def output(self, line: str) -> None:
        """Record a line of its output."""

    def ended(self, seconds: float) -> None:
        """Record its end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workspace:
    """A private folder with the project, the app, the flake, the state and the plugins."""

    folder: Path
    recorder: Recorder | None = None

    @property
    def keys(self) -> Path:
        """The folder of the hosts' keys (see `harness.hosts.launch`)."""
        return self.folder / "keys"

    @property
    def config(self) -> Path:
        """The file of the stack's config."""
        return self.folder / TEMPLATE

    @property
    def settings(self) -> Mapping[str, str]:
        """The environment variables with which the engine works in this folder."""
        return {
            "PULUMI_HOME": str(self.folder / "pulumi-home"),
            "PULUMI_BACKEND_URL": f"file://{self.folder / 'state'}",
            "PULUMI_CONFIG_PASSPHRASE": "",
            "PULUMI_SKIP_UPDATE_CHECK": "true",
            "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
        }

    def prepare(self, base: Path | None = None, edge: Path | None = None) -> None:
        """Create the folder, or bring it up to date with the repository.

        `base` is the root file system of the flake's Incus image, `edge` a layer with HAProxy for
        its Docker image.
        """
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.folder.chmod(0o700)
        (self.folder / "state").mkdir(exist_ok=True)
        for name in PROGRAM:
            _link(self.folder / name, ROOT / name)
        app, flake = str(self.folder / "app"), str(self.folder / "flake")
        self._do(str(ROOT / "demo" / "app-repo"), app)
        self._do(str(ROOT / "demo" / "render-flake"), flake, f"git+file://{app}")
        if base:
            make_key(self.keys / "client")
            key = str(self.keys / "client.pub")
            more = () if edge is None else (str(edge),)
            self._do(str(ROOT / "demo" / "base"), flake, str(base), key, *more)
        # The folder may be in a repository that ignores it: flakeup takes what git tracks.
        self._do("git", "init", "--quiet", "--", flake)
        self._do("git", "-C", flake, "add", "--all")
        self._do(str(ROOT / "tools" / "install-plugins"), self.settings["PULUMI_HOME"])
        self._write_env()

    def configure(self, *, services: bool, owner: str) -> bool:
        """Write the stack's config from the template, with the ssh key; the state is kept.

        `owner` is the label of all that the stack creates, by which it can be removed without it.
        Without `services`, those of the template are left out. Returns whether anything was
        written.
        """
        secret = (self.keys / "client").read_text()
        wanted = json.dumps([secret, services, owner, (ROOT / TEMPLATE).read_text()])
        mark, digest = self.folder / "configured", hashlib.sha256(wanted.encode()).hexdigest()
        if mark.is_file() and mark.read_text() == digest and self.config.is_file():
            return False
        self._start_config()
        if not services:
            self.check("config", "rm", "services")
        self.check("config", "set", "owner", owner)
        self.check("config", "set", "--secret", "sshKey", stdin=secret)
        mark.write_text(digest)
        return True

    def _start_config(self) -> None:
        """Write the template, with the encryption salt of the stack if it exists already."""
        text = (ROOT / TEMPLATE).read_text()
        known = (self.folder / "state" / ".pulumi" / "stacks").rglob(f"{STACK}.json")
        salt = [
            line
            for line in (self.config.read_text().splitlines() if self.config.is_file() else ())
            if line.startswith("encryptionsalt:")
        ]
        if any(known) and salt:
            self.config.write_text(f"{salt[0]}\n{text}")
            self.check("stack", "select", STACK)
        else:
            shutil.rmtree(self.folder / "state")
            (self.folder / "state").mkdir()
            self.config.write_text(text)
            self.check("stack", "init", STACK)

    def is_locked(self) -> bool:
        """Whether an engine was killed during an update, and has left the stack locked.

        Raises:
            HarnessError: the engine is still running.
        """
        locks = list((self.folder / "state" / ".pulumi" / "locks").rglob("*.json"))
        for lock in locks:
            pid = json.loads(lock.read_text()).get("pid", 0)
            if pid and "pulumi" in _name(pid):
                msg = (
                    f"`pulumi` (process {pid}) is running on this stack: wait until it has finished"
                )
                raise HarnessError(msg)
        return bool(locks)

    def check(self, *words: str, stdin: str = "") -> CommandResult:
        """Run `pulumi WORDS` here.

        Raises:
            HarnessError: it failed; the message has the end of the output.
        """
        result = self.pulumi(*words, stdin=stdin)
        if result.code:
            command = " ".join(words[:2])
            msg = f"`pulumi {command}` exited with status {result.code}: {_end(result.text)}"
            raise HarnessError(msg)
        return result

    def pulumi(self, *words: str, stdin: str = "", colour: bool = False) -> CommandResult:
        """Run `pulumi WORDS` here as scripts do: without prompts and cursor movements."""
        options = ("--non-interactive", "--color", "always" if colour else "never")
        source = " < keys/client" if stdin else ""
        return self._run(
            "pulumi", *words, *options, stdin=stdin, typed=shlex.join(("pulumi", *words)) + source
        )

    def _do(self, *argv: str) -> None:
        """Run a script of the project."""
        typed = shlex.join(word.removeprefix(f"{ROOT}/") for word in argv)
        result = self._run(*argv, typed=typed)
        if result.code:
            msg = f"{typed.split()[0]} exited with status {result.code}: {_end(result.text)}"
            raise HarnessError(msg)

    def _run(self, *argv: str, typed: str, stdin: str = "") -> CommandResult:
        began = time.monotonic()
        if self.recorder:
            self.recorder.command(typed)
        try:
            process = subprocess.Popen(
                argv,
                cwd=self.folder,
                env={**os.environ, **self.settings},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
            )
        except FileNotFoundError:
            msg = f"cannot start {argv[0]} in {self.folder}: run tools/bootstrap, then tools/env …"
            raise HarnessError(msg) from None
        lines = []
        with _bounded(process):
            if process.stdin:
                process.stdin.write(stdin)
                process.stdin.close()
            for line in _lines(process):
                lines.append(line)
                if self.recorder:
                    self.recorder.output(line)
        code = process.wait()
        seconds = time.monotonic() - began
        if self.recorder:
            self.recorder.ended(seconds)
        return CommandResult(code=code, text="".join(lines), seconds=seconds)

    def _write_env(self) -> None:
        """Write a file to source in a shell, to continue by hand."""
        values = {**self.settings, "PATH": os.environ["PATH"]}
        values |= {name: os.environ[name] for name in ("NIX_CONF_DIR",) if name in os.environ}
        lines = [f"export {name}={shlex.quote(value)}" for name, value in values.items()]
        text = "\n".join((f"# . {self.folder}/env", *lines, f"cd {shlex.quote(str(self.folder))}"))
        (self.folder / "env").write_text(f"{text}\n")


def _link(place: Path, target: Path) -> None:
    relative = os.path.relpath(target, place.parent)
    if place.is_symlink() and str(place.readlink()) == relative:
        return
    place.unlink(missing_ok=True)
    place.symlink_to(relative)


def _name(pid: int) -> str:
    """The name of a process; empty if there is none."""
    try:
        return Path(f"/proc/{pid}/comm").read_text()
    except OSError:
        return ""


def _end(text: str) -> str:
    return " / ".join(line.strip() for line in text.strip().splitlines()[-5:])


def _lines(process: "subprocess.Popen[str]") -> Iterator[str]:
    """Yield the lines that the process prints until it exits.

    Ctrl-C reaches the engine, too, which finishes what is in progress; the interrupt is raised only
    after that. A second one is raised at once.
    """
    interrupt: KeyboardInterrupt | None = None
    while process.stdout:
        try:
            line = process.stdout.readline()
        except KeyboardInterrupt as error:
            if interrupt:
                raise
            interrupt = error
            continue
        if not line:
            break
        yield line
    if interrupt:
        raise interrupt


@contextmanager
def _bounded(process: "subprocess.Popen[str]") -> Iterator[None]:
    """Interrupt the process when it takes too long, then kill it; leave none behind."""
    timers = [
        threading.Timer(TIMEOUT, process.send_signal, (signal.SIGINT,)),
        threading.Timer(TIMEOUT + GRACE, process.kill),
    ]
    for timer in timers:
        timer.start()
    try:
        yield
    except BaseException:
        process.terminate()
        raise
    finally:
        for timer in timers:
            timer.cancel()
        process.wait()
        if process.stdout:
            process.stdout.close()
