"""The place of a run: hosts, each with a stack of its own, one app, and the stock of systems."""

import asyncio
import json
import shutil
import socket
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
from components.pipeline.evaluate.evaluate import EvaluatedAttr
from components.pipeline.process.run import run
from components.pipeline.release import release
from harness import hosts as containers
from harness.caches import isolated_caches
from harness.hosts import ContainerHost
from harness.incus import ROOT
from tests.e2e.stack import ENV, Backend, Workspace, spec, wait_for
from tests.faults.fleet import Fleet
from tests.faults.machine import Machine
from tests.faults.site import TIMES, Site
from tests.faults.systems import stock

SIDE_BY_SIDE: Final = 3
"""First deployments at the same time: each takes a core for some seconds."""
_KEY: Final = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f"
"""Only for the shape of a config that builds the stock."""


@dataclass(slots=True, kw_only=True)
class Ground:
    """Everything is under `folder`, and made anew by `prepared`."""

    folder: Path
    prefix: str
    """Of the containers' names."""
    count: int
    say: Callable[[str], None]
    stacks: bool = True
    """Whether the first systems are deployed by the engine, into stacks; else by the classes."""
    sites: list[Site] = field(default_factory=list)
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
        """Hosts that run a first system and have the stock; the app is served inside the block.

        Raises:
            HarnessError: this machine has no containers.
        """
        work = self.folder / "work"
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(mode=0o700, parents=True)
        names = [f"web{number}" for number in range(1, self.count + 1)]
        containers.remove(self.prefix)  # what a run that was cut off has left is in no known state
        hosts = containers.launch(self.prefix, names, self.keys)
        self.say(f"{len(hosts)} hosts")
        made = (ROOT / "demo" / "app-repo", self.app)
        subprocess.run(made, check=True, timeout=60, stdout=subprocess.DEVNULL)
        with isolated_caches(work / "cache"), served(self.app.parent) as base:
            self._url = f"{base}/app"
            self._systems = asyncio.run(self._build())
            self.say(f"{len(self._systems)} systems of the stock are built")
            with ThreadPoolExecutor(max_workers=SIDE_BY_SIDE) as pool:
                self.sites = list(pool.map(self.open, hosts.values()))
            self.say("each host runs a first system")
            yield

    def remove(self) -> None:
        """Delete the hosts, and the folder."""
        containers.remove(self.prefix)
        shutil.rmtree(self.folder, ignore_errors=True)

    def open(self, host: ContainerHost) -> Site:
        """A host with a stack of its own, deployed for the first time, and the stock."""
        place = self.folder / "work" / host.name
        workspace = Workspace.make(place, Backend(state=place / "state"), self._url)
        key = self.keys / "client"
        workspace.init({host.name: host}, key.read_text())
        machine = Machine.make(host.name, spec(host), TIMES, key, place / "ssh")
        site = Site(host=host, workspace=workspace, machine=machine, keys=self.keys)
        site.stock = {name: system.out_path.path for name, system in self._systems.items()}
        site.write()
        asyncio.run(self._copy_stock(site))
        result = workspace.up() if self.stacks else site.deploy(site.stock["plain"], None)()
        assert result.code == 0, result.text
        return site

    def fleet(self) -> Fleet:
        """All hosts that are still good, in one stack."""
        good = [site for site in self.sites if not site.lost]
        return Fleet.open(good, self.folder / "work" / "fleet", self._url, self.keys / "client")

    async def _build(self) -> dict[str, EvaluatedAttr]:
        flake = self.folder / "work" / "stock"
        await run((str(ROOT / "demo/render-flake"), str(flake), self._url), timeout=60)
        (flake / "hosts.json").write_text(json.dumps(stock()))
        addresses = enumerate(stock(), start=1)
        raw = {name: {"address": f"192.0.2.{n}", "hostKey": _KEY} for n, name in addresses}
        settings = parse({"flake": str(flake), "hosts": raw})
        releases = await release.resolve(settings, self.folder / "work")
        found = await evaluate.evaluate_hosts(releases, settings.hosts)
        await closure.realise(tuple(found.values()))
        return found

    async def _copy_stock(self, site: Site) -> None:
        first, *others = self._systems.values()
        ssh = site.machine.ssh
        argv = (*ssh.copy_argv(first.drv_path), *(f"{one.drv_path.path}^out" for one in others))
        await run(argv, timeout=120, env={"NIX_SSHOPTS": ssh.nix_sshopts})
        # They outlive a garbage collection.
        links = "; ".join(
            f"ln -sfn {path} /nix/var/nix/gcroots/faults-{name}"
            for name, path in site.stock.items()
        )
        site.grip.sh(links)


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The repositories in a folder, by the git protocol; gives the url of the folder."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    argv = (
        ENV, "git", "daemon", "--export-all", "--reuseaddr", "--listen=127.0.0.1",
        f"--port={port}", f"--base-path={folder}", str(folder),
    )  # fmt: skip
    # It has a word to say of each client that does not stay to the end.
    quiet = subprocess.DEVNULL
    with subprocess.Popen(argv, stdin=quiet, stderr=quiet, start_new_session=True) as daemon:
        wait_for(lambda: _answers(port))
        try:
            yield f"git://127.0.0.1:{port}"
        finally:
            daemon.terminate()


def _answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
    except OSError:
        return False
