"""The demo's switch program on a host: how it ends in trouble, and with what words.

The messages are those that the runner and the deployer look for, so they are the real program's.
"""

import asyncio
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from components.pipeline.evaluate.attribute import EvaluatedAttr
from components.pipeline.process.run import run
from harness import hosts as containers
from harness.incus import own_prefix
from tests.e2e.runner_hosts import RunnerHost, build, copy, launch

pytestmark = pytest.mark.e2e

demo_only = pytest.mark.skipif(
    "FLAKEUP_SWITCH" in os.environ, reason="this fault is one of the demo's program"
)
PREFIX = own_prefix("flakeup-switch")
STEADY = "steady.service"
WORKER = {"app-worker.service": "[Service]\nExecStart=/bin/sleep infinity\n"}
"""Another worker than OLD's: it is stopped before the activation, and started after it."""
SYSTEMS: dict[str, dict[str, object]] = {
    "old": {},
    "snippet": {"faults": {"snippet-fails": "secrets"}},
    "snippet-unit": {"faults": {"snippet-fails": "secrets", "unit-fails": ""}},
    "bus-first": {"units": WORKER, "faults": {"stops-dbus": "stop"}},
    "bus-later": {"units": WORKER, "faults": {"stops-dbus": "activate"}},
    "frozen": {"units": WORKER, "faults": {"freezes-logind": "2"}},
    "masked": {"units": WORKER, "faults": {"stops-logind": ""}},
    "start": {"faults": {"restart-list": "nosuch.service"}},
    "reload": {"faults": {"reload-list": STEADY}},
    "user": {"faults": {"user-activation-fails": "deploy"}},
    "reloading": {"faults": {"reload-loop": "0.1"}},
    "isolating": {"faults": {"isolates": "0"}},
    "pointing": {"faults": {"points-init": "prepare-root"}},
}
UNITS = ("app-worker.service", "dbus.service", "dbus.socket", "systemd-logind.service")


@dataclass(frozen=True, slots=True, kw_only=True)
class Switched:
    """How a run of the program ended."""

    code: int
    lines: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class SwitchHost:
    """A host, and the systems that it can be switched to."""

    host: RunnerHost
    systems: dict[str, EvaluatedAttr]

    def path(self, name: str) -> str:
        return self.systems[name].out_path.path

    async def switch(self, name: str) -> Switched:
        program = f"{self.path(name)}/bin/switch-to-configuration"
        done = await run(self.host.ssh.argv(program, "test"), timeout=60, check=False)
        text = done.stdout.decode() + done.stderr_text
        return Switched(code=done.code, lines=text.splitlines())

    async def shell(self, script: str) -> str:
        done = await run(self.host.ssh.argv("sh", "-c", script), timeout=60, check=False)
        return done.stdout.decode().strip()

    async def current(self) -> str:
        return await self.shell("readlink -f /run/current-system")

    async def active(self) -> list[str]:
        """Those of `UNITS` that are active."""
        states = (await self.shell(f"systemctl is-active {' '.join(UNITS)}")).split()
        return [unit for unit, state in zip(UNITS, states, strict=True) if state == "active"]

    async def heal(self) -> None:
        """Bring the bus and logind back, and run `old`."""
        await self.shell(
            "rm -f /run/fake/patience; systemctl stop systemd-hostnamed.socket systemd-hostnamed;"
            " systemctl start dbus.socket dbus.service;"
            " systemctl unmask --runtime systemd-logind; systemctl restart systemd-logind"
        )
        assert (await self.switch("old")).code == 0


@pytest.fixture(scope="module")
def switch_host(runner_place: Path, app: Path) -> Iterator[SwitchHost]:
    systems = asyncio.run(build(runner_place, app, SYSTEMS))
    containers.remove(PREFIX)
    try:
        host = launch(PREFIX, runner_place, {"web1": "root"})["web1"]
        asyncio.run(copy(host, systems.values()))
        yield SwitchHost(host=host, systems=systems)
    finally:
        containers.remove(PREFIX)


@pytest.fixture
async def web1(switch_host: SwitchHost) -> SwitchHost:
    await switch_host.heal()
    return switch_host


@pytest.mark.parametrize(
    ("name", "code", "lines"),
    [
        (
            "snippet",
            2,
            [
                "Activation script snippet 'secrets' failed (1)",
                "Failed to run activate script",
            ],
        ),
        (
            "snippet-unit",
            4,
            [
                "Activation script snippet 'secrets' failed (1)",
                "Failed to run activate script",
                "warning: the following units failed: broken.service",
            ],
        ),
        ("start", 4, ["Failed to start nosuch.service: Unit nosuch.service not found."]),
        (
            "reload",
            4,
            [f"Failed to reload {STEADY}: Job type reload is not applicable for unit {STEADY}."],
        ),
        pytest.param("user", 4, ["warning: user activation for deploy failed"], marks=demo_only),
        ("reloading", 0, []),
    ],
)
async def test_exit_code_and_messages(
    web1: SwitchHost, name: str, code: int, lines: list[str]
) -> None:
    done = await web1.switch(name)
    told = [one for one in done.lines if one.startswith(("Activation s", "Failed to", "warning: "))]
    assert (done.code, told) == (code, lines)
    assert await web1.current() == web1.path(name)


@pytest.mark.parametrize(
    ("name", "message", "current"),
    [
        pytest.param(
            "bus-first",
            "Error: Failed to process dbus messages while waiting for jobs",
            "old",
            marks=demo_only,
        ),
        ("bus-later", "Error: Failed to reset failed units", "bus-later"),
    ],
)
async def test_a_system_that_stops_the_bus(
    web1: SwitchHost, name: str, message: str, current: str
) -> None:
    """The switch ends there: what was stopped stays so, and no other switch can begin."""
    done = await web1.switch(name)
    assert done.code == 1
    assert message in done.lines
    assert await web1.current() == web1.path(current)
    assert await web1.active() == ["systemd-logind.service"]
    assert "app-worker.service" in await web1.shell("cat /run/nixos/start-list")
    done = await web1.switch("old")
    assert (done.code, done.lines[0]) == (1, "Error: Failed to open dbus connection")

    await web1.heal()
    assert await web1.active() == list(UNITS)
    assert await web1.shell("ls /run/nixos") == "switch-to-configuration.lock"


@pytest.mark.parametrize("name", ["frozen", "masked"])
async def test_a_system_that_silences_logind(web1: SwitchHost, name: str) -> None:
    """The switch ends with EAGAIN, after it has stopped units and before it starts any."""
    done = await web1.switch(name)
    assert done.code == 11
    assert done.lines[-1].startswith("Unable to list users with logind: ")
    assert await web1.current() == web1.path(name)
    assert "app-worker.service" not in await web1.active()
    assert "app-worker.service" in await web1.shell("cat /run/nixos/start-list")

    again = await web1.switch("old")
    assert again.code == (0 if name == "masked" else 11)
    await web1.heal()
    assert await web1.active() == list(UNITS)


async def test_a_system_that_points_init_at_itself(web1: SwitchHost) -> None:
    own = await web1.shell("readlink /sbin/init")
    try:
        assert (await web1.switch("pointing")).code == 0
        assert await web1.shell("readlink /sbin/init") == f"{web1.path('pointing')}/prepare-root"
        assert (await web1.switch("old")).code == 0
        assert await web1.shell("readlink /sbin/init") == f"{web1.path('pointing')}/prepare-root"
    finally:
        await web1.shell(f"ln -sfn {own} /sbin/init")


async def test_a_system_that_isolates_a_target(web1: SwitchHost) -> None:
    """What nothing wants is stopped, unless it ignores that."""
    for name, more in (("taken", ""), ("kept", "--timer-property=IgnoreOnIsolate=yes")):
        await web1.shell(f"systemd-run --unit={name} --on-active=1h {more} true")
    assert (await web1.switch("isolating")).code == 0
    await web1.shell(
        "timeout 10 sh -c 'while systemctl is-active -q taken.timer; do sleep 0.1; done'"
    )
    assert await web1.shell("systemctl is-active taken.timer kept.timer") == "inactive\nactive"
    await web1.shell("systemctl stop kept.timer")
