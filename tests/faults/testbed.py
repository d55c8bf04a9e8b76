"""The testbed of a run: hosts with a stack each, a served app, and systems built in advance."""

import asyncio
import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from components.pipeline.config.stack import parse
from components.pipeline.deploy import closure
from components.pipeline.evaluate import evaluate
from components.pipeline.evaluate.attribute import EvaluatedAttr
from components.pipeline.process.run import run
from components.pipeline.release import release
from harness import hosts as containers
from harness.caches import isolated_caches
from harness.daemons.git_server import git_daemon
from harness.hosts import ContainerHost
from harness.incus import ROOT
from tests.e2e.stack import Backend, Workspace, host_config
from tests.faults.fleet import Fleet
from tests.faults.host_under_test import FAST_ACTIVATION, HostUnderTest
from tests.faults.pipeline_driver import PipelineDriver
from tests.faults.systems import prebuilt_options

PARALLEL: Final = 3
"""First deployments in parallel: each keeps a core busy for some seconds."""
_KEY: Final = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f"
"""A placeholder in the config with which the systems are built."""


@dataclass(slots=True, kw_only=True)
class Testbed:
    """Everything is under `folder`, and created from scratch by `prepared`."""

    folder: Path
    prefix: str
    """Of the containers' names."""
    count: int
    say: Callable[[str], None]
    stacks: bool = True
    """Whether the first systems are deployed by the engine, into stacks; else without it."""
    hosts: list[HostUnderTest] = field(default_factory=list)
    _systems: dict[str, EvaluatedAttr] = field(default_factory=dict)
    _url: str = ""

    @property
    def keys(self) -> Path:
        return self.folder / "keys"

    @property
    def app(self) -> Path:
        """The app's repository."""
        return self.folder / "work" / "git" / "app"

    @contextmanager
    def prepared(self) -> Iterator[None]:
        """Launch hosts, and deploy a first system to each; the app is served during the block.

        Raises:
            HarnessError: this machine cannot run containers.
        """
        work = self.folder / "work"
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(mode=0o700, parents=True)
        names = [f"web{number}" for number in range(1, self.count + 1)]
        containers.remove(self.prefix)  # left by an interrupted run, in an unknown state
        launched = containers.launch(self.prefix, names, self.keys)
        self.say(f"{len(launched)} hosts are up")
        made = (ROOT / "demo" / "app-repo", self.app)
        subprocess.run(made, check=True, timeout=60, stdout=subprocess.DEVNULL)
        with isolated_caches(work / "cache"), git_daemon(self.app.parent) as base:
            self._url = f"{base}/app"
            self._systems = asyncio.run(self._build())
            self.say(f"{len(self._systems)} systems are built")
            with ThreadPoolExecutor(max_workers=PARALLEL) as pool:
                self.hosts = list(pool.map(self._set_up, launched.values()))
            self.say("each host runs a first system")
            yield

    def remove(self) -> None:
        """Delete the hosts, and the folder."""
        containers.remove(self.prefix)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _set_up(self, container: ContainerHost) -> HostUnderTest:
        """Create the stack of a host, copy the systems to it, and deploy for the first time."""
        folder = self.folder / "work" / container.name
        workspace = Workspace.create(folder, Backend(state=folder / "state"), self._url)
        key = self.keys / "client"
        workspace.init({container.name: container}, key.read_text())
        driver = PipelineDriver.create(
            container.name, host_config(container), FAST_ACTIVATION, key, folder / "ssh"
        )
        host = HostUnderTest(
            container=container, workspace=workspace, driver=driver, keys=self.keys
        )
        host.prebuilt = {name: system.out_path.path for name, system in self._systems.items()}
        host.write_config()
        asyncio.run(self._copy_prebuilt(host))
        result = workspace.up() if self.stacks else host.deploy(host.prebuilt["plain"], None)()
        assert result.code == 0, result.text
        return host

    def fleet(self) -> Fleet:
        """All hosts that are still usable, in one stack."""
        usable = [host for host in self.hosts if not host.unusable]
        return Fleet.create(usable, self.folder / "work" / "fleet", self._url, self.keys / "client")

    async def _build(self) -> dict[str, EvaluatedAttr]:
        flake = self.folder / "work" / "prebuilt"
        await run((str(ROOT / "demo/render-flake"), str(flake), self._url), timeout=60)
        (flake / "hosts.json").write_text(json.dumps(prebuilt_options()))
        addresses = enumerate(prebuilt_options(), start=1)
        raw = {name: {"address": f"192.0.2.{n}", "hostKey": _KEY} for n, name in addresses}
        settings = parse({"flake": str(flake), "hosts": raw})
        releases = await release.resolve(settings, self.folder / "work")
        found = await evaluate.evaluate_hosts(releases, settings.hosts)
        await closure.realise(tuple(found.values()))
        return found

    async def _copy_prebuilt(self, host: HostUnderTest) -> None:
        first, *others = self._systems.values()
        ssh = host.driver.ssh
        argv = (*ssh.copy_argv(first.drv_path), *(f"{one.drv_path.path}^out" for one in others))
        await run(argv, timeout=120, env={"NIX_SSHOPTS": ssh.nix_sshopts})
        # They have to survive garbage collection.
        links = "; ".join(
            f"ln -sfn {path} /nix/var/nix/gcroots/faults-{name}"
            for name, path in host.prebuilt.items()
        )
        host.shell.run(links)
