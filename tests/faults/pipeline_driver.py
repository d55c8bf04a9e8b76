"""Deploys without the engine, with the pipeline's own classes, as the hook and resource do."""

import asyncio
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

from components.pipeline.activation import protocol, runner
from components.pipeline.activation.attempt import Attempt
from components.pipeline.activation.protocol import Reply
from components.pipeline.activation.request import AttemptRequest
from components.pipeline.config.stack import parse
from components.pipeline.errors import FlakeupError, ProcessError
from components.pipeline.process.run import run
from components.pipeline.transport.ssh import Ssh
from components.pipeline.transport.ssh_errors import SSH_FAILED
from components.pipeline.transport.ssh_files import write_ssh_files
from components.pipeline.values import StorePath
from harness.command_result import CommandResult, Json

COMMIT_TRIES = 3
TIMEOUT = 120.0
_PLACEHOLDER = {
    "address": "192.0.2.1",
    "hostKey": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f",
}
"""A host for a config of which only `activation` is used."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineDriver:
    """Deploys to a host over ssh, as the program does."""

    ssh: Ssh

    @classmethod
    def create(cls, name: str, spec: Json, activation: Json, key: Path, folder: Path) -> Self:
        """`spec` is the host as in the config, `key` the private key to log in with."""
        hosts = {name: {**spec, "activation": activation}}
        host = parse({"flake": "./flake", "hosts": hosts}).hosts[0]
        identity = write_ssh_files(folder, [host], key.read_text())
        return cls(ssh=Ssh.of(host, identity))

    def with_activation(self, activation: Json) -> Self:
        """The same with other activation settings."""
        parsed = parse(
            {"flake": "./flake", "hosts": {"web1": {**_PLACEHOLDER, "activation": activation}}}
        ).hosts[0]
        host = replace(self.ssh.host, activation=parsed.activation)
        return replace(self, ssh=replace(self.ssh, host=host))

    def attempt(self, new: str, old: str | None, by: str = "faults (pid 1)") -> Attempt:
        return Attempt(
            transport=self.ssh,
            old=StorePath.parse(old) if old else None,
            new=StorePath.parse(new),
            request=AttemptRequest.of(self.ssh, by=by, release="faults", values={}),
            progress=lambda _: None,
        )

    async def call_runner(self, *words: str) -> tuple[int, Reply | None]:
        """Run a command of the runner; returns its exit code and the reply, if it gave one."""
        done = await run(self.ssh.argv(*words), timeout=60, stdin=runner.text(), check=False)
        lines = done.stdout.splitlines()
        return done.code, protocol.parse("host", lines[-1]) if lines else None

    async def commit(self, new: str) -> tuple[int, Reply | None]:
        """Confirm `new` over a connection of its own."""
        return await self.call_runner(*protocol.RUNNER_ARGV, new)

    async def deploy(self, new: str, old: str | None, pause: float = 0) -> CommandResult:
        """Start an attempt and commit it after `pause` seconds; code 0 if it was confirmed."""
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
    """A deployment that runs in a thread of its own."""

    run: Callable[[], CommandResult]
    _results: list[CommandResult] = field(default_factory=list)
    _errors: list[BaseException] = field(default_factory=list)
    _thread: threading.Thread | None = None

    def start(self) -> Self:
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        return self

    def _run(self) -> None:
        try:
            self._results.append(self.run())
        except BaseException as error:  # noqa: BLE001 raised again by `wait`
            self._errors.append(error)

    def wait(self, timeout: float = TIMEOUT) -> CommandResult:
        """Wait until it has finished, and return its result or raise its error."""
        assert self._thread
        self._thread.join(timeout)
        assert not self._thread.is_alive(), f"not finished after {timeout:g} s"
        for error in self._errors:
            raise error
        return self._results[0]
