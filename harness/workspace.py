"""A folder with a Pulumi project of its own around this program: for the demo, tests and bench.

Generated keys, config and state stay in there; no file of the repository is changed.
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
"""Seconds that an interrupted engine gets to finish what is under way."""


class Recorder(Protocol):
    """Who is shown the commands: `demo.terminal.Terminal`."""

    def command(self, text: str) -> None:
        """Take a command, as typed."""

    def output(self, line: str) -> None:
        """Take a line that it printed."""

    def ended(self, seconds: float) -> None:
        """Take its end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workspace:
    """`folder` is private, and holds the project, the app, the flake, the state and the plugins."""

    folder: Path
    audience: Recorder | None = None

    @property
    def keys(self) -> Path:
        """Where the hosts' keys are (`harness.hosts.launch`)."""
        return self.folder / "keys"

    @property
    def config(self) -> Path:
        """The stack's config."""
        return self.folder / TEMPLATE

    @property
    def settings(self) -> Mapping[str, str]:
        """What the environment needs beside the tools, for the engine to work in here."""
        return {
            "PULUMI_HOME": str(self.folder / "pulumi-home"),
            "PULUMI_BACKEND_URL": f"file://{self.folder / 'state'}",
            "PULUMI_CONFIG_PASSPHRASE": "",
            "PULUMI_SKIP_UPDATE_CHECK": "true",
            "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
        }

    def prepare(self, base: Path | None = None, edge: Path | None = None) -> None:
        """Make the folder, or bring one that is there up to date with the repository.

        `base` is the root file system of an Incus image, for a flake that has one; `edge` HAProxy
        as a layer of a Docker image.
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
        self._do(str(ROOT / "tools" / "install-plugins"), self.settings["PULUMI_HOME"])
        self._write_env()

    def configure(self, *, services: bool) -> bool:
        """Write the stack's config from the template, with the ssh key; the state is kept.

        Without `services`, those of the template are left out. Gives whether there was anything to
        write.
        """
        secret = (self.keys / "client").read_text()
        wanted = json.dumps([secret, services, (ROOT / TEMPLATE).read_text()])
        mark, digest = self.folder / "configured", hashlib.sha256(wanted.encode()).hexdigest()
        if mark.is_file() and mark.read_text() == digest and self.config.is_file():
            return False
        self._start_config()
        if not services:
            self.check("config", "rm", "services")
        self.check("config", "set", "--secret", "sshKey", stdin=secret)
        mark.write_text(digest)
        return True

    def _start_config(self) -> None:
        """The template, with the salt of the stack's secrets where there is a stack already."""
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

    def left_locked(self) -> bool:
        """Whether an engine was killed in the middle of its work on the stack.

        Raises:
            HarnessError: it is still at work.
        """
        locks = list((self.folder / "state" / ".pulumi" / "locks").rglob("*.json"))
        for lock in locks:
            pid = json.loads(lock.read_text()).get("pid", 0)
            if pid and "pulumi" in _name(pid):
                msg = f"a `pulumi` (process {pid}) is at work on the demo's stack: let it end first"
                raise HarnessError(msg)
        return bool(locks)

    def check(self, *words: str, stdin: str = "") -> CommandResult:
        """Run `pulumi WORDS` here.

        Raises:
            HarnessError: it failed; the message has the end of what it said.
        """
        result = self.pulumi(*words, stdin=stdin)
        if result.code:
            command = " ".join(words[:2])
            msg = f"`pulumi {command}` exited with status {result.code}: {_end(result.text)}"
            raise HarnessError(msg)
        return result

    def pulumi(self, *words: str, stdin: str = "", colour: bool = False) -> CommandResult:
        """Run `pulumi WORDS` here, in the way of scripts: no questions, no cursor movements."""
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
            msg = f"{typed.split()[0]} ended with status {result.code}: {_end(result.text)}"
            raise HarnessError(msg)

    def _run(self, *argv: str, typed: str, stdin: str = "") -> CommandResult:
        began = time.monotonic()
        if self.audience:
            self.audience.command(typed)
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
                if self.audience:
                    self.audience.output(line)
        code = process.wait()
        seconds = time.monotonic() - began
        if self.audience:
            self.audience.ended(seconds)
        return CommandResult(code=code, text="".join(lines), seconds=seconds)

    def _write_env(self) -> None:
        """A file for a person's shell, to go on by hand."""
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
    """What a process is called; empty where there is none."""
    try:
        return Path(f"/proc/{pid}/comm").read_text()
    except OSError:
        return ""


def _end(text: str) -> str:
    return " / ".join(line.strip() for line in text.strip().splitlines()[-5:])


def _lines(process: "subprocess.Popen[str]") -> Iterator[str]:
    """What the process prints, to its end.

    An interrupt from the keyboard reaches the engine too, which finishes what is under way: it is
    followed to its end before the interrupt goes on. A second one is not kept waiting.
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
    """Ask the process to end when it takes too long, then make it; leave none behind."""
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
