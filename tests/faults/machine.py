"""Deploys as the program's hook and resource do, with the program's classes, without the engine."""

import asyncio
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from components.pipeline.activation import protocol, runner
from components.pipeline.activation.attempt import Attempt
from components.pipeline.activation.protocol import Reply
from components.pipeline.activation.request import AttemptSpec
from components.pipeline.config.stack import parse
from components.pipeline.errors import FlakeupError, ProcessError
from components.pipeline.process.run import run
from components.pipeline.transport.ssh import SSH_FAILED, Ssh, write_ssh_files
from components.pipeline.values import StorePath
from harness.command_result import CommandResult, Json

COMMIT_TRIES = 3
TIMEOUT = 120.0
_SHAPE = {
    "address": "192.0.2.1",
    "hostKey": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """A host as the program reaches it."""

    ssh: Ssh

    @classmethod
    def make(cls, name: str, spec: Json, activation: Json, key: Path, folder: Path) -> "Machine":
        """`spec` is the host as the config has it, `key` the private key to log in with."""
        hosts = {name: {**spec, "activation": activation}}
        host = parse({"flake": "./flake", "hosts": hosts}).hosts[0]
        identity = write_ssh_files(folder, [host], key.read_text())
        return cls(ssh=Ssh.of(host, identity))

    def timed(self, activation: Json) -> "Machine":
        """The same with other times."""
        times = parse(
            {"flake": "./flake", "hosts": {"web1": {**_SHAPE, "activation": activation}}}
        ).hosts[0]
        host = replace(self.ssh.host, activation=times.activation)
        return Machine(ssh=replace(self.ssh, host=host))

    def attempt(self, new: str, old: str | None, by: str = "faults (pid 1)") -> Attempt:
        return Attempt(
            transport=self.ssh,
            old=StorePath.parse(old) if old else None,
            new=StorePath.parse(new),
            spec=AttemptSpec.of(self.ssh, by=by, release="faults", values={}),
            progress=lambda _: None,
        )

    async def say(self, *words: str) -> tuple[int, Reply | None]:
        """Run one command on the host; its exit code, and its last line, if it is one of ours."""
        done = await run(self.ssh.argv(*words), timeout=60, stdin=runner.text(), check=False)
        lines = done.stdout.splitlines()
        return done.code, protocol.parse("host", lines[-1]) if lines else None

    async def commit(self, new: str) -> tuple[int, Reply | None]:
        """Confirm, over a connection of its own."""
        return await self.say(protocol.ENTRY, new)

    async def deploy(self, new: str, old: str | None, pause: float = 0) -> CommandResult:
        """From the start to the commit, `pause` seconds before it; code 0 where it is confirmed."""
        began = time.monotonic()
        try:
            code, text = await self._deploy(new, old, pause)
        except (FlakeupError, ProcessError) as error:
            code, text = 1, str(error)
        return CommandResult(code=code, text=text, seconds=time.monotonic() - began)

    async def _deploy(self, new: str, old: str | None, pause: float) -> tuple[int, str]:
        attempt = self.attempt(new, old)
        state = await attempt.run()
        await asyncio.sleep(pause)
        for _ in range(COMMIT_TRIES):
            code, reply = await self.commit(new)
            if code != SSH_FAILED:
                result = f"{reply.event}: {reply.fields}" if reply else "no reply"
                return code, f"{state or 'unchanged'}, then {result}"
            await asyncio.sleep(1)
        await attempt.abort("the commit could not be sent")
        return SSH_FAILED, "the commit could not be sent"


@dataclass(slots=True, kw_only=True)
class Deployment:
    """A deployment by the classes that is under way, in a thread of its own."""

    work: Callable[[], CommandResult]
    _said: list[CommandResult] = field(default_factory=list)
    _errors: list[BaseException] = field(default_factory=list)
    _thread: threading.Thread | None = None

    def start(self) -> "Deployment":
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()
        return self

    def _work(self) -> None:
        try:
            self._said.append(self.work())
        except BaseException as error:  # noqa: BLE001 raised again by `end`
            self._errors.append(error)

    @property
    def ended(self) -> bool:
        return self._thread is None or not self._thread.is_alive()

    def end(self, timeout: float = TIMEOUT) -> CommandResult:
        """Wait for its end."""
        assert self._thread
        self._thread.join(timeout)
        assert not self._thread.is_alive(), f"no end after {timeout:g} s"
        for error in self._errors:
            raise error
        return self._said[0]
