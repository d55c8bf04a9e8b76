"""Checks that a host runs itself, on a real host: successes, failures and messages."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from components.pipeline.activation.attempt import Attempt
from components.pipeline.activation.protocol import State
from components.pipeline.config.checks import Check, CheckKind, CheckOrigin
from components.pipeline.evaluate.attribute import EvaluatedAttr
from components.pipeline.process.concurrency import background
from components.pipeline.process.run import run
from components.pipeline.transport.ssh import Ssh
from components.pipeline.transport.ssh_files import write_ssh_files
from components.pipeline.values import Duration
from tests.e2e.host_state import Hosts
from tests.e2e.runner_hosts import TIMES, RunnerHost, failure, spec
from tests.e2e.stack import Workspace

pytestmark = pytest.mark.e2e

TRACES = "/run/checks-on-host"
"""Where the commands of checks record that they ran."""
HTTP, TCP, UNIT, COMMAND = CheckKind.HTTP, CheckKind.TCP, CheckKind.UNIT, CheckKind.COMMAND
APP = "http://localhost:8080/"


def check(name: str, kind: CheckKind, target: str, **changes: Any) -> Check:
    plain = Check(
        name=name,
        kind=kind,
        target=target,
        origin=CheckOrigin.HOST,
        status=200,
        contains="",
        header="",
        period=Duration("1s"),
        timeout=Duration("10s"),
        retries=0,
        hold=Duration("0s"),
    )
    return replace(plain, **changes)


GOOD = (
    check("ssh", TCP, "localhost:22"),
    check("app-v6", TCP, "[::1]:8080"),
    check("page", HTTP, APP, contains="app v1 on ", header="content-type: TEXT/plain"),
    check("worker", UNIT, "app-worker.service"),
    check("new-tools", COMMAND, "motd"),
    check("held", COMMAND, f"echo good >>{TRACES}/held", hold=Duration("2s")),
    check(
        "third",
        COMMAND,
        f"echo tried >>{TRACES}/third; test $(wc -l <{TRACES}/third) -ge 3",
        retries=3,
    ),
)
BAD = (
    (check("port", TCP, "localhost:9"), "no connection to localhost:9"),
    (check("page", HTTP, APP, status=404), "expected status 404, got 200"),
    (check("page", HTTP, APP, header="x-version: 1"), "no header has 'x-version: 1'"),
    (check("worker", UNIT, "nobody.service"), "nobody.service is inactive"),
    (
        check(
            "flapping",
            COMMAND,
            f"mkdir {TRACES}/once 2>/dev/null || (echo not twice; exit 3)",
            retries=3,
            hold=Duration("5s"),
        ),
        "good at first, then the command exited with status 3: not twice",
    ),
)


@pytest.fixture(scope="module")
def new(systems: dict[str, EvaluatedAttr]) -> EvaluatedAttr:
    return systems["new"]


@pytest.fixture(scope="module")
def machine(hosts: Hosts, keys: Path, place: Path, new: EvaluatedAttr) -> RunnerHost:
    """web1 for the runner; NEW is in its store."""
    host = hosts["web1"]
    one = spec(host.name, host.address, "root", host.host_key)
    identity = write_ssh_files(place / "ssh", [one], (keys / "client").read_text())
    made = RunnerHost(ssh=Ssh.of(one, identity), container=host)
    argv = made.ssh.copy_argv(new.drv_path)
    asyncio.run(run(argv, timeout=120, env={"NIX_SSHOPTS": made.ssh.nix_sshopts}))
    return made


@pytest.fixture
def web1(machine: RunnerHost, workspace: Workspace) -> Iterator[RunnerHost]:  # noqa: ARG001 on v1
    """A host on v1 with a folder for traces; each test ends on v1 by itself."""
    machine.container.exec("mkdir", TRACES)
    yield machine
    machine.container.exec("rm", "-r", TRACES)


def attempt(machine: RunnerHost, new: EvaluatedAttr, *checks: Check) -> Attempt:
    made = machine.attempt(new, None)
    made.request = replace(made.request, checks=checks)
    return made


def tries(machine: RunnerHost, name: str) -> int:
    return len(machine.container.query("cat", f"{TRACES}/{name}").splitlines())


TOKEN = "t0ken-8f1c"  # noqa: S105 no real one
SAMPLER = """printf %s "$1" >/run/sampled; chmod 644 /run/sampled; shift
exec setpriv --reuid=nobody --regid=nogroup --clear-groups sh -c '
while [ -e /run/sampled ]; do
    for file in /proc/[0-9]*/cmdline; do
        tr "\\0" " " <"$file" 2>/dev/null | grep -F -f /run/sampled 2>/dev/null
    done
    sleep 0.02
done' >/run/seen
"""
SECRET = (
    check("command", COMMAND, f"test {TOKEN} && sleep 1"),
    check("page", HTTP, f"{APP}?key={TOKEN}", hold=Duration("2s")),
    check("body", HTTP, APP, contains=f"app v1 on {TOKEN}", retries=2),
    check("header", HTTP, APP, header=f"x-key: {TOKEN}", retries=2),
)


async def test_nobody_on_the_host_sees_what_a_check_holds(
    web1: RunnerHost, new: EvaluatedAttr
) -> None:
    """Argv is everybody's to read, and the spec of an attempt that has ended is kept."""
    sampling = asyncio.to_thread(web1.container.exec, "sh", "-c", SAMPLER, "sh", TOKEN, timeout=150)
    async with background(sampling) as seen:
        one = attempt(web1, new, *SECRET)
        message = await failure(one)
        control = asyncio.to_thread(web1.container.exec, "sh", "-c", "sleep 5; :", TOKEN)
        await control
        web1.container.exec("rm", "/run/sampled")
        await seen
    lines = web1.container.query("cat", "/run/seen").splitlines()
    assert TOKEN in message  # that of `contains` or `header`, which the config has
    assert lines, "the sampler sees nothing"
    assert [line for line in lines if "sleep 5; :" not in line] == []
    folder = f"/nix/var/flakeup/attempts/{one.id}"
    kept = web1.container.query("sh", "-c", f"grep -rlF {TOKEN} {folder} || true").split()
    assert kept == [f"{folder}/reason"]
    assert "check" not in web1.container.query("cat", f"{folder}/spec")


async def test_the_kept_spec_holds_no_checks(web1: RunnerHost, new: EvaluatedAttr) -> None:
    one = attempt(web1, new, check("good", COMMAND, f"true {TOKEN}"))
    assert await one.run() is State.AWAITING
    folder = f"/nix/var/flakeup/attempts/{one.id}"
    assert TOKEN in web1.container.query("cat", f"{folder}/spec")
    await one.abort("seen enough")
    spec = web1.container.query("cat", f"{folder}/spec")
    assert "by tests (pid 1)\n" in spec
    assert spec.endswith("\nend\n")
    assert web1.container.query("sh", "-c", f"grep -rlF {TOKEN} {folder} || true") == ""


async def test_output_is_not_shown_where_it_may_not_be(
    web1: RunnerHost, new: EvaluatedAttr
) -> None:
    one = attempt(web1, new, check("noisy", COMMAND, f"echo {TOKEN}; exit 3"))
    one.request = replace(one.request, activation=replace(TIMES, show_output=False))
    message = await failure(one)
    assert TOKEN not in message
    assert message.startswith(
        "not deployed: web1: check noisy: the command exited with status 3: rolled back to the "
        "previous system. it runs /nix/store/"
    )


async def test_all_checks_succeed(web1: RunnerHost, new: EvaluatedAttr) -> None:
    before = await web1.systems()
    one = attempt(web1, new, *GOOD)
    state, meanwhile = await one.run(), await web1.systems()
    last = await one.abort("seen enough")
    assert (state, meanwhile) == (State.AWAITING, (new.out_path, before[1]))
    assert tries(web1, "third") == 3
    assert tries(web1, "held") >= 2
    assert last
    assert (last.state, last["reason"]) == (State.ROLLED_BACK, "seen enough")
    assert await web1.systems() == before


@pytest.mark.parametrize(("bad", "why"), BAD, ids=("tcp", "status", "header", "unit", "hold"))
async def test_one_check_fails(web1: RunnerHost, new: EvaluatedAttr, bad: Check, why: str) -> None:
    before = await web1.systems()
    message = await failure(attempt(web1, new, bad))
    assert message.splitlines()[0] == (
        f"not deployed: web1: check {bad.name}: {why}: rolled back to the previous system"
    )
    assert await web1.systems() == before
