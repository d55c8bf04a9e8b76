"""Registers a fleet under Pulumi's mocks and prints, as JSON, what was registered and logged.

A program of its own: the SDK's mocks leave event loops behind, which would fail whatever test
happens to run when they are collected. Its one argument is a `Scenario` as JSON; it runs in a
folder of its own, with an `ssh` and a `nix` on PATH that answer for the hosts.
"""

import asyncio
import json
import logging
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import pulumi
import pulumi.resource_hooks
import pulumi.runtime

from components.fleet import Fleet, FleetArgs
from components.pipeline.config.activation import Activation, Mode
from components.pipeline.config.jumps import Jump
from components.pipeline.config.rollout import Rollout
from components.pipeline.config.stack import HostSpec, Settings
from components.pipeline.deploy import plan
from components.pipeline.errors import ActivationError
from components.pipeline.evaluate.attribute import EvaluatedAttr
from components.pipeline.process.timings import Timings
from components.pipeline.release.flake import Flake
from components.pipeline.release.git import Pin, RefKind
from components.pipeline.release.release import Release
from components.pipeline.transport.ssh_files import SshFiles
from components.pipeline.values import (
    Attr,
    FlakeUrl,
    HostAddress,
    HostKey,
    Ref,
    Rev,
    StorePath,
    UserName,
)
from components.stack.release_record import ReleaseRecord
from tests.program.engine import Engine, Log, Recorder

KEY = "-----BEGIN OPENSSH PRIVATE KEY-----\npoison\n-----END OPENSSH PRIVATE KEY-----"
EVENTS = "events"
"""The file that records the order of switches: `begin`, `end` and `commit`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """What to deploy, and how; `kept` are resources in the state that do not change.

    `garbage` are resources whose command prints a greeting only.
    """

    hosts: tuple[str, ...] = ("web1", "web2")
    disabled: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    garbage: tuple[str, ...] = ()
    canary: str | int = 1
    waves: tuple[int, ...] = ()
    max_parallel: int | None = None
    mode: str = "switch"
    preview: bool = False
    jumps: tuple[str, ...] = ()
    """Hosts behind a jump; a name that is here twice is behind two."""

    @property
    def text(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def parse(cls, text: str) -> "Scenario":
        made: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value
            for key, value in json.loads(text).items()
        }
        return cls(**made)


HOST_KEY = HostKey(f"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI{'A' * 43}")
JUMP = Jump(
    address=HostAddress.parse("bastion.example.org"), user=UserName("jump"), host_key=HOST_KEY
)


def spec(name: str, scenario: Scenario) -> HostSpec:
    return HostSpec(
        name=name,
        address=HostAddress.parse(f"10.0.0.{name[-1]}"),
        host_key=HOST_KEY,
        user=UserName.parse("deploy" if name == "web2" else "root"),
        attr=Attr.parse(name),
        activation=Activation(mode=Mode(scenario.mode)),
        proxy_jump=(JUMP,) * scenario.jumps.count(name),
    )


def system(name: str) -> EvaluatedAttr:
    path = f"/nix/store/{name[-1] * 32}-nixos-system-{name}-25.11"
    return EvaluatedAttr(
        attr=name, drv_path=StorePath.parse(f"{path}.drv"), out_path=StorePath.parse(path)
    )


def settings(scenario: Scenario) -> Settings:
    return Settings(
        flake=FlakeUrl.parse("./flake"),
        app_ref=Ref.parse("v1"),
        ssh_key=KEY,
        hosts=tuple(spec(name, scenario) for name in scenario.hosts),
        disabled=tuple(spec(name, scenario) for name in scenario.disabled),
        rollout=Rollout(
            canary=scenario.canary, waves=scenario.waves, max_parallel=scenario.max_parallel
        ),
    )


def release() -> Release:
    pin = Pin(ref=Ref.parse("v1"), kind=RefKind.TAG, rev=Rev.parse("a" * 40), full="refs/tags/v1")
    flake = Flake(
        url="path:/somewhere/flake",
        pin=None,
        dir="",
        nar_hash="sha256-x",
        tree=None,
        locks={
            "root": "root",
            "nodes": {
                "root": {"inputs": {"app": "app"}},
                "app": {"original": {"type": "github", "owner": "acme", "repo": "app"}},
            },
        },
    )
    return Release(flake=flake, app=pin, lock=Path("/somewhere/lock"), lock_sha256="b" * 64)


def make_fleet(wanted: Settings) -> Fleet:
    systems = {host.name: system(host.name) for host in wanted.hosts}
    ssh_files = SshFiles(
        known_hosts=PurePosixPath(".flakeup/dev/ssh/known_hosts"),
        key=PurePosixPath(".flakeup/dev/ssh/key"),
    )
    Path(ssh_files.known_hosts).parent.mkdir(parents=True)
    args = FleetArgs(
        plans=plan.plan_hosts(wanted.hosts, systems, {}),
        ssh_files=ssh_files,
        ssh_key=wanted.ssh_key,
        owner=pulumi.Output.from_input(""),
        record=ReleaseRecord(wanted, {None: release()}),
        timings=Timings(),
        rollout=wanted.rollout,
        provider_host=wanted.services.host,
        disabled=wanted.disabled,
    )
    return Fleet("fleet", args)


def did(name: str) -> None:
    """Record that the command of a resource ran."""
    with Path(EVENTS).open("a") as events:
        events.write(f"run {name}\n")


def record(scenario: Scenario) -> dict[str, Any]:
    """Run the program once."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    # As Pulumi does when it starts a program: the SDK leaves failed futures behind.
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    loop.set_default_executor(ThreadPoolExecutor(32))  # each waiting host holds a thread
    log, logger = Log(), logging.getLogger("engine")
    logger.addHandler(log)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    engine = Engine(Recorder(did, dict.fromkeys(scenario.garbage, "Welcome")), scenario.kept, loop)
    # Hooks belong to the engine: without one they cannot be registered.
    pulumi.resource_hooks.register_resource_hook = engine.register_hook  # type: ignore[attr-defined]
    pulumi.resource_hooks.register_error_hook = engine.register_error_hook  # type: ignore[attr-defined]
    pulumi.runtime.set_mocks(
        engine.mocks,
        project="flakeup",
        stack="dev",
        preview=scenario.preview,
        logger=logger,
        monitor=engine,
    )
    fleets: list[Fleet] = []
    pulumi.runtime.test(  # type: ignore[no-untyped-call]
        lambda: fleets.append(make_fleet(settings(scenario)))
    )()
    while left := asyncio.all_tasks(loop):  # the last messages are still being sent
        loop.run_until_complete(asyncio.wait(left))
    failure = ""
    try:
        fleets[0].require_success()
    except ActivationError as error:
        failure = str(error)
    return {
        "failure": failure,
        "rows": {name: asdict(row) for name, row in engine.rows.items()},
        "messages": log.messages,
        "events": Path(EVENTS).read_text().splitlines(),
    }


if __name__ == "__main__":
    json.dump(record(Scenario.parse(sys.argv[1])), sys.stdout)
