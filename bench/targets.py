"""An Incus host compared to one over ssh: creation, deployment, and a copy by `incus exec`."""

import asyncio
import os
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

from bench.measure import Samples
from bench.testbed import Testbed
from components.pipeline.config.hosts import Target
from components.pipeline.config.incus import IncusSpec
from components.pipeline.config.stack import HostSpec
from components.pipeline.release import nix
from components.pipeline.transport.incus_exec import IncusExec
from components.pipeline.values import Attr
from harness.command_result import CommandResult
from harness.incus import ROOT, HarnessError, Incus

STACK: Final = "incus"
HOST: Final = "web1"
PAYLOAD: Final = 200
"""Megabytes of the copy by `incus exec`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IncusStack:
    """A stack with one instance, which the program creates."""

    testbed: Testbed
    incus: Incus

    @property
    def instance(self) -> str:
        """Its name in Incus."""
        return f"{self.testbed.scale.prefix}-created"

    def prepare(self, ref: str) -> None:
        """Write its config, and upload the image by creating the instance once."""
        workspace, keys = self.testbed.workspace, self.testbed.keys
        if self.incus.root is None:
            msg = "tools/bootstrap has no root file system for an image"
            raise HarnessError(msg)
        argv = (
            ROOT / "demo" / "base",
            workspace.folder / "flake",
            self.incus.root,
            keys / "client.pub",
        )
        subprocess.run(argv, check=True, timeout=60)
        stack = ("--stack", STACK)
        workspace.check("stack", "init", *stack)
        values = {
            "appRef": ref,
            "flake": "./flake",
            "appInput": "app",
            "activation.settle": "0s",
            "incus.project": self.incus.project,
            "incus.image": "base",
            f"hosts.{HOST}.target": "incus",
            f"hosts.{HOST}.incus.name": self.instance,
        }
        words = (word for item in values.items() for word in ("--plaintext", "=".join(item)))
        workspace.check("config", "set-all", "--path", *words, *stack)
        secret = (keys / "client").read_text()
        workspace.check("config", "set", "--secret", "sshKey", *stack, stdin=secret)
        self.up()

    def up(self, ref: str | None = None) -> CommandResult:
        """Run `pulumi up`, with `ref` as its new appRef."""
        check = self.testbed.workspace.check
        if ref:
            check("config", "set", "appRef", ref, "--stack", STACK)
        return check("up", "--yes", "--skip-preview", "--stack", STACK)

    def delete_instance(self) -> None:
        """Delete the instance without the program; the image stays."""
        self.incus.call("delete", "--force", self.instance)

    def copy(self) -> float:
        """Copy random bytes by `incus exec`; returns the seconds for 100 MB."""
        spec = IncusSpec(name=self.instance, project=self.incus.project)
        host = HostSpec(name=HOST, target=Target.INCUS, attr=Attr(HOST), incus=spec)
        return asyncio.run(_copy(IncusExec(host=host, folder=PurePosixPath(".flakeup"))))

    def remove(self) -> None:
        """Destroy the stack."""
        self.testbed.workspace.check("destroy", "--yes", "--skip-preview", "--stack", STACK)


async def _copy(transport: IncusExec) -> float:
    with tempfile.NamedTemporaryFile() as file:
        for _ in range(PAYLOAD):
            file.write(os.urandom(1_000_000))
        file.flush()
        path = (await nix.command("store", "add-file", file.name)).text
    began = time.monotonic()
    async with transport.store() as store:
        await nix.command("copy", "--no-check-sigs", "--to", store.url, "--", path)
    seconds = time.monotonic() - began
    await nix.command("store", "delete", "--", path)
    return seconds * 100 / PAYLOAD


def targets(testbed: Testbed, samples: Samples, rounds: int) -> None:
    """Measure new releases on both kinds of host, creating an instance, and a copy by exec."""
    made = IncusStack(testbed=testbed, incus=Incus.ready())
    made.prepare(testbed.next_release())
    try:
        for _ in range(rounds):
            ref = testbed.next_release()
            samples.add_up("up, a host over ssh", testbed.up(1, ref, preview=False))
            samples.add_up("up, an Incus host", made.up(ref))
        for _ in range(rounds):
            made.delete_instance()
            samples.add_up("a new Incus host", made.up())
        for _ in range(rounds):
            samples.add("100 MB by exec", made.copy())
    finally:
        made.remove()
