"""A host of the rig with a stack of its own: rows on different hosts know nothing of each other."""

import asyncio
import json
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from harness.command_result import CommandResult, Json
from harness.hosts import ContainerHost
from harness.state import recorded
from tests.e2e.stack import ENV, STACK, Workspace
from tests.faults.host_tools import Grip
from tests.faults.machine import Machine
from tests.faults.vector import Vector

TIMES: Final[Json] = {
    "timeout": "20s",
    "settle": "1s",
    "checkDeadline": "10s",
    "confirm": "10s",
    "commit": "10s",
}
_SSH: Final = (
    "ssh", "-F", "none", "-T", "-o", "BatchMode=yes", "-o", "ConnectTimeout=5",
    "-o", "IdentitiesOnly=yes", "-o", "StrictHostKeyChecking=yes", "-o", "LogLevel=ERROR",
    "-o", "GlobalKnownHostsFile=/dev/null",
)  # fmt: skip


@dataclass(slots=True, kw_only=True)
class Site:
    """A host, the stack that deploys to it, and the systems of the stock."""

    host: ContainerHost
    workspace: Workspace
    machine: Machine
    keys: Path
    stock: dict[str, str] = field(default_factory=dict)
    lost: str = ""
    """Why no row may run here any more."""

    @property
    def grip(self) -> Grip:
        return Grip(host=self.host)

    @property
    def deployer(self) -> str:
        """This machine's address, as the host sees it."""
        return self.grip.ask("ip route show default | cut -d' ' -f3 | head -n 1")

    # --- deploying -------------------------------------------------------------------------

    def write(self, times: Json | None = None, **config: object) -> None:
        """Write the stack's config, with some times or keys changed."""
        activation = {**TIMES, **(times or {})}
        self.workspace.write(**{"appRef": "v1", "activation": activation, **config})

    def deploy(
        self, new: str, old: str | None, pause: float = 0, times: Json | None = None
    ) -> Callable[[], CommandResult]:
        """A deployment by the program's classes, to be called; `times` replaces some of them."""
        machine = self.machine.timed({**TIMES, **times}) if times else self.machine
        return lambda: asyncio.run(machine.deploy(new, old, pause))

    def recorded(self) -> str:
        """The system that the state of the stack has for this host; empty without one."""
        file = self.workspace.backend.state / ".pulumi/stacks/flakeup" / f"{STACK}.json"
        latest = json.loads(file.read_text())["checkpoint"]["latest"] or {}
        return recorded(latest.get("resources") or ()).get(self.host.name, "")

    def evaluated(self) -> str:
        """What the flake in the folder says now, by nix alone."""
        attribute = f"nixosConfigurations.{self.host.name}.config.system.build.toplevel.outPath"
        nix = ("nix", "--extra-experimental-features", "nix-command flakes", "eval", "--raw")
        done = subprocess.run(
            (ENV, *nix, f"path:./flake#{attribute}"),
            cwd=self.workspace.folder,
            env=self.workspace.environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    # --- looking ---------------------------------------------------------------------------

    def troubles(self, vector: Vector) -> list[str]:
        """What is not as it has to be on a host where nothing is under way."""
        found = vector.unclean()
        if result := self.login():
            found.append(f"no login with the pinned key: {result}")
        answer = self.host.http()
        if not answer.startswith("app v"):
            found.append(f"the app answers {answer}")
        return found

    def login(self) -> str:
        """What ssh complains of, with the pinned host key and the client's; empty if nothing."""
        pins = self.keys / f"pin-{self.host.name}"
        pins.write_text(f"{self.host.address} {self.host.host_key}\n")
        files = ("-o", f"UserKnownHostsFile={pins}", "-i", str(self.keys / "client"))
        argv = (*_SSH, *files, "-l", "root", "--", self.host.address, "true")
        done = subprocess.run(
            argv, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=30, check=False
        )
        return f"status {done.returncode}: {done.stderr.strip()}" if done.returncode else ""
