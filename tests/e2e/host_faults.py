"""What tests do to a host while an attempt is in progress, and what the attempt has left there."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from components.pipeline.activation.protocol import State
from components.pipeline.evaluate.attribute import EvaluatedAttr
from tests.e2e.runner_hosts import LOCK, RunnerHost

CURRENT: Final = "/nix/var/flakeup/current"
UNCONFIRMED: Final = f"flakeup-unconfirmed-$(basename $(readlink {CURRENT}))"
"""The confirmation's timer and service, for a shell on the host."""
EXPIRE: Final = f"systemctl start --no-block {UNCONFIRMED}.service"
Systems = dict[str, EvaluatedAttr]


def sh(host: RunnerHost, script: str) -> None:
    host.container.exec("sh", "-ec", script)


def state(host: RunnerHost) -> str:
    return host.container.query("cat", f"{CURRENT}/state").strip()


def reason(host: RunnerHost) -> str:
    return host.container.query("cat", f"{CURRENT}/reason").strip()


def trouble(host: RunnerHost) -> str:
    return host.container.query("cat", f"{CURRENT}/trouble").strip()


async def wait_for(host: RunnerHost, *states: State, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while (found := state(host)) not in states:
        assert time.monotonic() < end, f"it is {found}: {reason(host)}"
        await asyncio.sleep(0.2)


@contextmanager
def held_lock(host: RunnerHost) -> Iterator[None]:
    """Another switch holds NixOS's lock during the block."""
    sh(
        host,
        f"systemd-run -q --unit=holder --collect flock {LOCK} sleep 600;"
        f" until ! flock -n {LOCK} true; do sleep 0.05; done",
    )
    try:
        yield
    finally:
        sh(host, "systemctl stop holder || true")  # gone after a reboot


def expire(host: RunnerHost) -> None:
    """Do what the confirmation's timer does, once the test is ready for it."""
    sh(host, EXPIRE)


async def is_on(host: RunnerHost, system: EvaluatedAttr) -> bool:
    return await host.systems() == (system.out_path, system.out_path)


@contextmanager
def failing(host: RunnerHost, program: str, words: str, instead: str = "exit 1") -> Iterator[None]:
    """During the block, a program of the host does something else first.

    It does so if its arguments match a shell pattern; unless that exits, the program then runs.
    """
    wrapper = f'#!/bin/sh\ncase "$*" in {words}) {instead} ;; esac\nexec /nix/real/{program} "$@"\n'
    sh(
        host,
        f"mkdir -p /nix/real; cp -a /usr/bin/{program} /nix/real/; [ ! -L /usr/bin/{program} ] ||"
        f" ln -sfn $(readlink -f /usr/bin/{program}) /nix/real/{program};"
        f" printf %s '{wrapper}' >/nix/wrapper; chmod 755 /nix/wrapper;"
        f" mv /nix/wrapper /usr/bin/{program}",
    )
    try:
        yield
    finally:
        sh(
            host,
            f"cp -a /nix/real/{program} /usr/bin/{program}.new;"
            f" mv /usr/bin/{program}.new /usr/bin/{program}; rm -r /nix/real",
        )


@contextmanager
def replaced(host: RunnerHost, program: str, text: str) -> Iterator[None]:
    """During the block, a file of a system is this script; $original is the file itself."""
    folder = f"/nix/replaced/{Path(program).parts[3]}"
    script = f"original={folder}/original; {text}"
    sh(
        host,
        f"mkdir -p {folder}; cp {program} {folder}/original;"
        f" printf '%s\\n' '#!/bin/sh' '{script}' >{folder}/script;"
        f" chmod 755 {folder}/script; mount --bind {folder}/script {program}",
    )
    try:
        yield
    finally:
        sh(host, f"umount -l {program}; rm -r {folder}")
