"""Registers a fleet of two hosts under Pulumi's mocks and prints, as JSON, what was registered.

A program of its own: the SDK's mocks leave event loops behind, which would fail whatever test
happens to run when they are collected.
"""

import asyncio
import json
import sys
from pathlib import Path, PurePosixPath
from typing import Any

import pulumi
import pulumi.resource_hooks
import pulumi.runtime

from components.fleet import Fleet, FleetArgs
from components.pipeline import plan
from components.pipeline.evaluate import System
from components.pipeline.git import Pin, RefKind
from components.pipeline.grammar import (
    Attr,
    FlakeUrl,
    HostAddress,
    HostKey,
    Ref,
    Rev,
    StorePath,
    UserName,
)
from components.pipeline.release import Flake, Release
from components.pipeline.settings import HostSpec, Settings
from components.pipeline.stages import Stages
from components.pipeline.transport import Identity
from components.release_record import ReleaseRecord

KEY = "-----BEGIN OPENSSH PRIVATE KEY-----\npoison\n-----END OPENSSH PRIVATE KEY-----"
HASHES = {"web1": "1" * 32, "web2": "2" * 32}


class Recorder(pulumi.runtime.Mocks):
    """Remembers every registration, and answers as the command provider would."""

    def __init__(self) -> None:
        self.resources: dict[str, dict[str, Any]] = {}

    def new_resource(self, args: pulumi.runtime.MockResourceArgs) -> tuple[str, dict[str, Any]]:
        self.resources[args.name] = {"type": args.typ, "inputs": args.inputs}
        answer = {"schema": 1, "event": "committed", "outcome": "committed"}
        stdout = {"stdout": json.dumps(answer)} if args.typ.startswith("command:") else {}
        return f"{args.name}-id", {**args.inputs, **stdout}

    def call(
        self, args: pulumi.runtime.MockCallArgs
    ) -> tuple[dict[Any, Any], list[tuple[str, str]] | None]:
        raise AssertionError(args.token)


def spec(name: str, user: str) -> HostSpec:
    return HostSpec(
        name=name,
        address=HostAddress.parse(f"10.0.0.{name[-1]}"),
        user=UserName.parse(user),
        host_key=HostKey(f"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI{'A' * 43}"),
        attr=Attr.parse(name),
    )


def system(name: str) -> System:
    path = f"/nix/store/{HASHES[name]}-nixos-system-{name}-25.11"
    return System(attr=name, drv=StorePath.parse(f"{path}.drv"), out=StorePath.parse(path))


def settings() -> Settings:
    return Settings(
        flake=FlakeUrl.parse("./flake"),
        app_ref=Ref.parse("v1"),
        ssh_key=KEY,
        hosts=(spec("web1", "root"), spec("web2", "deploy")),
    )


def release() -> Release:
    pin = Pin(ref=Ref.parse("v1"), kind=RefKind.TAG, rev=Rev.parse("a" * 40), full="refs/tags/v1")
    flake = Flake(
        url="path:/somewhere/flake", pin=None, dir="", nar_hash="sha256-x", tree=None, inputs={}
    )
    return Release(flake=flake, app=pin, lock=Path("/somewhere/lock"), lock_sha256="b" * 64)


def accepted(_: object) -> asyncio.Future[None]:
    done: asyncio.Future[None] = asyncio.get_event_loop().create_future()
    done.set_result(None)
    return done


def make_fleet() -> None:
    wanted = settings()
    systems = {host.name: system(host.name) for host in wanted.hosts}
    identity = Identity(
        known_hosts=PurePosixPath(".flakeup/dev/ssh/known_hosts"),
        key=PurePosixPath(".flakeup/dev/ssh/key"),
    )
    args = FleetArgs(
        plans=plan.decide(wanted.hosts, systems, {}),
        identity=identity,
        ssh_key=wanted.ssh_key,
        record=ReleaseRecord(wanted, {None: release()}),
        stages=Stages(),
    )
    Fleet("fleet", args)


def main() -> None:
    """Record one run of the program."""
    # Hooks are the engine's: without one there is nobody to register them with.
    pulumi.resource_hooks.register_resource_hook = accepted  # type: ignore[attr-defined, assignment]
    pulumi.resource_hooks.register_error_hook = accepted  # type: ignore[attr-defined, assignment]
    recorder = Recorder()
    pulumi.runtime.set_mocks(recorder, project="flakeup", stack="dev", preview=False)
    pulumi.runtime.test(make_fleet)()  # type: ignore[no-untyped-call]
    json.dump(recorder.resources, sys.stdout)


if __name__ == "__main__":
    main()
