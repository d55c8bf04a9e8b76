"""An interrupted copy (F1), and a binary cache that does not answer (F17)."""

import threading

from harness.command_result import CommandResult
from tests.e2e.processes import kill
from tests.faults import deployer_processes
from tests.faults.host_shell import is_running, not_self
from tests.faults.row import Outcome, Row
from tests.faults.scenario import EngineScenario, Scenario

COPY = ("nix", " copy ", "--to")
REMOTE = "nix-daemon --stdio"
COPYING = is_running(REMOTE)


def kill_nix(scenario: Scenario) -> CommandResult:
    """Kill the deployer's `nix copy`, or its ssh."""
    assert isinstance(scenario, EngineScenario)
    with scenario.deploying("large") as engine:
        # Stopped meanwhile, so that the copy cannot finish before it is killed.
        scenario.kill_within(0.15, COPYING, REMOTE, "STOP")
        ssh = ("ssh", scenario.host.container.address, REMOTE)
        words = COPY if scenario.random.random() < 0.5 else ssh
        killed = kill(deployer_processes.matching(engine.process.pid, *words))
        # If it stayed stopped, a remaining ssh would hang; the process may be gone already.
        scenario.shell.run(f"pkill -CONT -f {not_self(REMOTE)}; [ $? -le 1 ]")
        assert killed, f"there was no {words[0]} to kill"
        scenario.notes.append(f"{killed} of {words[0]} killed")
        return engine.wait()


def kill_remote(scenario: Scenario) -> CommandResult:
    with scenario.deploying("large") as deployment:
        scenario.kill_within(0.15, COPYING, REMOTE)
        return deployment.wait()


def link_down_for_a_while(scenario: Scenario) -> CommandResult:
    with scenario.deploying("large") as deployment:
        scenario.shell.wait_until(COPYING)
        scenario.shell.run("ip link set eth0 down")
        scenario.mark_fault()
        timer = threading.Timer(8, scenario.shell.succeeds, ("ip link set eth0 up",))
        timer.start()
        scenario.cleanup.callback(timer.join)
        return deployment.wait()


def link_down(scenario: Scenario) -> CommandResult:
    with scenario.deploying("large") as deployment:
        scenario.shell.wait_until(COPYING)
        scenario.shell.run("ip link set eth0 down")
        scenario.cleanup.callback(scenario.shell.wait_until_reachable)
        scenario.on_cleanup("ip link set eth0 up")
        scenario.mark_fault()
        return deployment.wait()


def dead_cache(scenario: Scenario) -> CommandResult:
    """The host's cache is unreachable, so that it uses the paths that are copied to it."""
    conf = "/etc/nix/nix.conf"
    scenario.shell.run(
        f"cp {conf} {conf}.aside; sed -i '/^substituters/d' {conf};"
        f" echo 'substituters = http://127.0.0.1:9' >>{conf}"
    )
    scenario.on_cleanup(f"mv -f {conf}.aside {conf}")
    return scenario.deploy()


ROWS = (
    Row(
        id="F1a", expected=Outcome.EITHER, inject=kill_nix, times=3, quick=1,
        what="the local nix or ssh is killed during the copy",
    ),
    Row(
        id="F1b", expected=Outcome.EITHER, inject=kill_remote, times=2,
        what="the remote nix is killed during the copy",
    ),
    Row(
        id="F1c", expected=Outcome.EITHER, inject=link_down_for_a_while,
        what="the link is down for 8 s during the copy",
    ),
    Row(
        id="F1d", expected=Outcome.OLD, inject=link_down,
        what="the link goes down during the copy and stays down",
    ),
    Row(
        id="F17b", expected=Outcome.NEW, inject=dead_cache,
        what="the host's binary cache does not answer",
    ),
)  # fmt: skip
