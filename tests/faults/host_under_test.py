"""A host with a stack of its own, so that rows on different hosts are independent."""

import asyncio
import json
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from harness.command_result import CommandResult, Json
from harness.hosts import ContainerHost
from harness.incus import HarnessError
from harness.state import recorded
from tests.e2e.stack import ENV, STACK, Workspace
from tests.faults.host_shell import HostShell
from tests.faults.host_snapshot import HostSnapshot
from tests.faults.pipeline_driver import PipelineDriver

FAST_ACTIVATION: Final[Json] = {
    "timeout": "20s",
    "settle": "1s",
    "checkDeadline": "10s",
    "confirm": "10s",
    "commit": "10s",
}
"""Shorter than the defaults, as the hosts are on the same machine."""
_SSH: Final = (
    "ssh", "-F", "none", "-T", "-o", "BatchMode=yes", "-o", "ConnectTimeout=5",
    "-o", "IdentitiesOnly=yes", "-o", "StrictHostKeyChecking=yes", "-o", "LogLevel=ERROR",
    "-o", "GlobalKnownHostsFile=/dev/null",
)  # fmt: skip


@dataclass(slots=True, kw_only=True)
class HostUnderTest:
    """A host, the stack that deploys to it, and the systems that are in its store."""

    container: ContainerHost
    workspace: Workspace
    driver: PipelineDriver
    keys: Path
    prebuilt: dict[str, str] = field(default_factory=dict)
    """Store paths of the systems of `systems.PREBUILT`, by name."""
    unusable: str = ""
    """Why no further row may run here; empty while the host is usable."""

    @property
    def name(self) -> str:
        """In the flake and in the config."""
        return self.container.name

    @property
    def shell(self) -> HostShell:
        return HostShell(container=self.container)

    @property
    def deployer_address(self) -> str:
        """This machine's address, as the host sees it."""
        return self.shell.output("ip route show default | cut -d' ' -f3 | head -n 1")

    # --- deploying -------------------------------------------------------------------------

    def write_config(self, activation: Json | None = None, **config: object) -> None:
        """Write the stack's config, with some keys of `activation` or of the stack changed."""
        merged = {**FAST_ACTIVATION, **(activation or {})}
        self.workspace.write(**{"appRef": "v1", "activation": merged, **config})

    def deploy(
        self, new: str, old: str | None, pause: float = 0, activation: Json | None = None
    ) -> Callable[[], CommandResult]:
        """A deployment without the engine, as a function to call.

        `activation` replaces some of the keys of that name in the config.
        """
        driver = self.driver
        if activation:
            driver = driver.with_activation({**FAST_ACTIVATION, **activation})
        return lambda: asyncio.run(driver.deploy(new, old, pause))

    def recorded(self) -> str:
        """The system that the stack's state records for this host; empty without one."""
        file = self.workspace.backend.state / ".pulumi/stacks/flakeup" / f"{STACK}.json"
        latest = json.loads(file.read_text())["checkpoint"]["latest"] or {}
        return recorded(latest.get("resources") or ()).get(self.name, "")

    def evaluated(self) -> str:
        """The system that the flake in the folder now evaluates to, by nix alone."""
        attribute = f"nixosConfigurations.{self.name}.config.system.build.toplevel.outPath"
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

    # --- observing -------------------------------------------------------------------------

    def problems(self, snapshot: HostSnapshot) -> list[str]:
        """Everything that is wrong with an idle host, one sentence each."""
        found = snapshot.problems()
        if error := self.login_error():
            found.append(f"no login with the pinned host key: {error}")
        try:
            body = self.container.http()
        except HarnessError as error:
            return [*found, f"the app does not answer: {error}"]
        return found if body.startswith("app v") else [*found, f"the app answers {body}"]

    def login_error(self) -> str:
        """The error of ssh with the pinned host key and the client's key; empty if it works."""
        known_hosts = self.keys / f"pin-{self.name}"
        known_hosts.write_text(f"{self.container.address} {self.container.host_key}\n")
        files = ("-o", f"UserKnownHostsFile={known_hosts}", "-i", str(self.keys / "client"))
        argv = (*_SSH, *files, "-l", "root", "--", self.container.address, "true")
        done = subprocess.run(
            argv, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=30, check=False
        )
        return f"status {done.returncode}: {done.stderr.strip()}" if done.returncode else ""
