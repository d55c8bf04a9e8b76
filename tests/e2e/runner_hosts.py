"""Hosts for tests of the runner, and the systems that are deployed to them."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from components.pipeline.activation import protocol, runner
from components.pipeline.activation.attempt import Attempt
from components.pipeline.activation.protocol import Observation, Reply
from components.pipeline.activation.request import AttemptRequest
from components.pipeline.config.activation import Activation
from components.pipeline.config.stack import HostSpec, Settings
from components.pipeline.deploy import closure
from components.pipeline.errors import ActivationError
from components.pipeline.evaluate import evaluate
from components.pipeline.evaluate.attribute import EvaluatedAttr
from components.pipeline.process.concurrency import all_of
from components.pipeline.process.run import run
from components.pipeline.release import release
from components.pipeline.transport.ssh import Ssh
from components.pipeline.transport.ssh_files import write_ssh_files
from components.pipeline.values import (
    Attr,
    Duration,
    FlakeUrl,
    HostAddress,
    HostKey,
    StorePath,
    UserName,
)
from harness import hosts as containers
from harness.caches import isolated_caches
from harness.hosts import ContainerHost
from harness.incus import ROOT, own_prefix

USERS = {"web1": "root", "web2": "deploy"}
LOCK = "/run/nixos/switch-to-configuration.lock"


def service(*lines: str) -> str:
    """The text of a unit that systemd restarts as often as it says."""
    return "\n".join(("[Unit]", "StartLimitIntervalSec=0", "[Service]", *lines, ""))


PAUSES = {
    "long": service("Type=exec", "Restart=always", "RestartSec=60", "ExecStart=/bin/sleep 1"),
    "short": service("Type=exec", "Restart=always", "RestartSec=1", "ExecStart=/bin/sleep 1"),
    "status": service(
        "Type=exec", "Restart=always", "RestartSec=60", "SuccessExitStatus=75",
        "ExecStart=/bin/sh -c 'sleep 1; exit 75'",
    ),
}  # fmt: skip
"""Services that end well and are started again, by design."""
ENDING = service(
    "Type=exec", "ExecStart=/bin/sh -c 'test -e /run/done || exec sleep 600'"
)  # fmt: skip
"""It ends well, once there is nothing left to do."""
FLAPPING = service(
    "Type=exec", "Restart=always", "RestartSec=1", "RestartPreventExitStatus=3",
    "ExecStart=/bin/sh -c 'test ! -e /run/dead || exit 3; test -e /run/flaps || exec sleep 600;"
    " sleep 1; exit 1'",
)  # fmt: skip
"""It keeps failing once /run/flaps is there, and has failed for good once /run/dead is."""
SYSTEMS: dict[str, dict[str, object]] = {
    "old": {},
    "new": {"extraText": "new"},
    "other": {"extraText": "other"},
    "absent": {"extraText": "never copied"},
    "slow": {"activationSeconds": 2},
    "failing": {"faults": {"unit-fails": ""}},
    "crashing": {"faults": {"activate-fails": ""}},
    "looping": {
        "units": {
            "looping.service": "[Unit]\nStartLimitIntervalSec=0\n[Service]\nType=exec\n"
            "Restart=always\nRestartSec=1\nExecStart=/bin/false\n"
        }
    },
    **{f"pausing-{name}": {"units": {"pausing.service": text}} for name, text in PAUSES.items()},
    "ending": {"units": {"ending.service": ENDING}},
    "flapping": {"units": {"flapping.service": FLAPPING}},
    "flapping-too": {"units": {"flapping.service": FLAPPING}, "extraText": "new"},
    "flapping-changed": {"units": {"flapping.service": f"{FLAPPING}# changed\n"}},
    "rebooting": {"initInterface": "systemd 3"},
    "unchecked": {"faults": {"check-fails": ""}},
    "flooding": {"faults": {"activate-floods": "1"}},
    "pointing": {"faults": {"points-init": "init"}},
    "unbootable": {"faults": {"boot-fails": ""}},
}
TIMES = Activation(
    timeout=Duration("20s"),
    settle=Duration("0s"),
    check_deadline=Duration("30s"),
    confirm=Duration("60s"),
    commit=Duration("60s"),
)
"""Long enough for what a test does before it commits, on a busy machine; none waits for an end."""
COPIED = tuple(name for name in SYSTEMS if name != "absent")
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunnerHost:
    """A host, reached over ssh as the program does, and directly as its container."""

    ssh: Ssh
    container: ContainerHost

    def attempt(self, new: EvaluatedAttr, old: EvaluatedAttr | None, **changes: Any) -> Attempt:
        return Attempt(
            transport=self.ssh,
            old=old.out_path if old else None,
            new=new.out_path,
            request=AttemptRequest(
                activation=replace(TIMES, **changes), by="tests (pid 1)", release="v1"
            ),
            progress=lambda _: None,
        )

    async def call_runner(self, *words: str) -> tuple[int, Reply]:
        """Run a command of the runner; returns its exit code and its reply."""
        done = await run(self.ssh.argv(*words), timeout=60, stdin=runner.text(), check=False)
        assert done.stdout, done.stderr_text
        return done.code, protocol.parse("host", done.stdout.splitlines()[-1])

    async def commit(self, system: EvaluatedAttr) -> tuple[int, Reply]:
        return await self.call_runner(*protocol.commit_argv(system.out_path))

    async def observe(self) -> Observation:
        return Observation.of((await self.call_runner(*protocol.observe_argv()))[1])

    async def systems(self) -> tuple[StorePath | None, StorePath | None]:
        """The system that it runs, and the boot default."""
        observed = await self.observe()
        return observed.current, observed.profile

    async def ensure(self, system: EvaluatedAttr) -> None:
        """Abort any attempt, and deploy `system` unless it runs and boots."""
        observed = await self.observe()
        if observed.attempt:
            last = self.attempt(system, None)
            last.id = observed.attempt
            await last.abort("the next test")
        elif observed.current == observed.profile == system.out_path:
            return
        await self.attempt(system, None).run()
        code, reply = await self.commit(system)
        assert code == 0, reply

    def attempts(self) -> list[str]:
        return self.container.query("ls", "/nix/var/flakeup/attempts").split()

    def log(self) -> str:
        return self.container.query("cat", "/nix/var/flakeup/current/log")


def spec(name: str, address: str, user: str, key: str) -> HostSpec:
    return HostSpec(
        name=name,
        address=HostAddress.parse(address),
        host_key=HostKey.parse(key),
        user=UserName.parse(user),
        attr=Attr.parse(name),
        substitute=False,
    )


@pytest.fixture(scope="module")
def runner_place(
    tools: None,  # noqa: ARG001 skips without the tools
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Path]:
    """A private folder, with caches of its own."""
    base = tmp_path_factory.mktemp("runner")
    with isolated_caches(base / "cache"):
        yield base


async def build(
    place: Path, app: Path, hosts: dict[str, dict[str, object]]
) -> dict[str, EvaluatedAttr]:
    """The systems of a demo flake with these hosts (their options in hosts.json), built."""
    flake = place / "flake"
    await run((str(ROOT / "demo/render-flake"), str(flake), f"git+file://{app}"), timeout=60)
    (flake / "hosts.json").write_text(json.dumps(hosts))
    specs = tuple(spec(name, "192.0.2.1", "root", KEY) for name in hosts)
    settings = Settings(flake=FlakeUrl.parse(str(flake)), hosts=specs)
    found = await evaluate.evaluate_hosts(await release.resolve(settings, place), specs)
    await closure.realise(tuple(found.values()))
    return found


async def copy(host: RunnerHost, systems: Iterable[EvaluatedAttr]) -> None:
    """Copy systems to a host in one go."""
    first, *others = [system.drv_path for system in systems]
    more = tuple(f"{drv.path}^out" for drv in others)
    argv = (*host.ssh.copy_argv(first), *more)
    await run(argv, timeout=120, env={"NIX_SSHOPTS": host.ssh.nix_sshopts})


def launch(prefix: str, place: Path, users: dict[str, str]) -> dict[str, RunnerHost]:
    """Start a container for each host name, and make it reachable over ssh as its user."""
    keys = place / "keys"
    hosts = containers.launch(prefix, tuple(users), keys)
    specs = [spec(n, h.address, users[n], h.host_key) for n, h in hosts.items()]
    identity = write_ssh_files(place / "ssh", specs, (keys / "client").read_text())
    return {
        one.name: RunnerHost(ssh=Ssh.of(one, identity), container=hosts[one.name]) for one in specs
    }


@pytest.fixture(scope="module")
def systems(runner_place: Path, app: Path) -> dict[str, EvaluatedAttr]:
    """The systems by name, built."""
    return asyncio.run(build(runner_place, app, SYSTEMS))


@pytest.fixture(scope="module")
def runner_hosts(
    request: pytest.FixtureRequest, runner_place: Path, systems: dict[str, EvaluatedAttr]
) -> Iterator[dict[str, RunnerHost]]:
    """Hosts of the module's own, as modules run in parallel; they have the systems in their stores.

    web1 has all but `absent`. A module that takes USERS has web2, too, with `old` and `new`.
    """
    module = request.module.__name__.rpartition(".test_")[2].replace("_", "-")
    prefix = own_prefix(f"flakeup-{module}")
    names = {"web1": COPIED, "web2": ("old", "new")}
    users = getattr(request.module, "USERS", {"web1": "root"})
    containers.remove(prefix)
    try:
        made = launch(prefix, runner_place, users)
        copies = [copy(made[host], [systems[name] for name in names[host]]) for host in users]

        async def copy_all() -> None:
            await all_of(copies)

        asyncio.run(copy_all())
        yield made
    finally:
        containers.remove(prefix)


@pytest.fixture
async def web1(
    runner_hosts: dict[str, RunnerHost], systems: dict[str, EvaluatedAttr]
) -> RunnerHost:
    """A host that is reached as root and runs `old`, without an attempt in progress."""
    await runner_hosts["web1"].ensure(systems["old"])
    return runner_hosts["web1"]


async def failure(one: Attempt) -> str:
    with pytest.raises(ActivationError) as caught:
        await one.run()
    return str(caught.value)


@asynccontextmanager
async def unit_that_failed_before(host: RunnerHost) -> AsyncIterator[str]:
    """A unit that fails again each time it is started, also after a switch; yields its name."""
    unit = "failed-before.service"
    place = f"/run/systemd/system/{unit}"
    text = "[Service]\\nType=exec\\nRestart=always\\nRestartSec=5\\nExecStart=/bin/false\\n"
    host.container.exec("sh", "-c", f"printf '{text}' >{place}; systemctl daemon-reload")
    host.container.exec("systemctl", "start", "--no-block", unit)
    try:
        end = time.monotonic() + 10
        while unit not in (await host.observe()).failed:
            assert time.monotonic() < end
            await asyncio.sleep(0.1)
        yield unit
    finally:
        host.container.exec("sh", "-c", f"systemctl stop {unit}; rm {place}")
        host.container.exec("systemctl", "daemon-reload")


async def wait_until_idle(host: RunnerHost) -> None:
    """Wait until no attempt is in progress, and no unit of one is left.

    PID 1 may know the unit file for a soft-reboot until it is reloaded next.
    """
    end = time.monotonic() + 60
    while (await host.observe()).attempt or guard_units(host):
        assert time.monotonic() < end, f"an attempt or a unit of one is left: {guard_units(host)}"
        await asyncio.sleep(0.1)


def guard_units(host: RunnerHost) -> str:
    """The units of attempts that are active or have failed."""
    return host.container.query(
        "systemctl", "list-units", "--plain", "--no-legend",
        "--state=active,activating,deactivating,reloading,failed", "flakeup-*",
    )  # fmt: skip


async def wait_until_booted(host: RunnerHost) -> None:
    """Wait until the host answers, and has activated its boot default."""
    end = time.monotonic() + 120
    up = f"readlink /run/current-system && {{ [ ! -e {LOCK} ] || flock -n {LOCK} true; }}"
    while True:
        done = await run(host.ssh.argv("sh", "-c", up), timeout=30, check=False)
        if done.code == 0:
            return
        assert time.monotonic() < end, done.stderr_text
        await asyncio.sleep(0.2)
