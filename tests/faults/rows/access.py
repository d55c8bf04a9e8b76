"""Systems that lock the deployer out, and hosts with another identity (F5, F6, F18, F19)."""

import re
import subprocess

from harness.command_result import CommandResult
from tests.faults.host_shell import STATE
from tests.faults.row import Driver, Outcome, Row
from tests.faults.rows.systems import bad
from tests.faults.scenario import EngineScenario, Scenario

KEY = "/etc/ssh/ssh_host_ed25519_key"
OTHER_KEY = (
    f"mv {KEY} {KEY}.aside && ssh-keygen -q -t ed25519 -N '' -f {KEY} && rm {KEY}.pub"
    " && systemctl restart ssh"
)
OWN_KEY = f"test ! -e {KEY}.aside || {{ mv -f {KEY}.aside {KEY} && systemctl restart ssh; }}"
LOCKOUT = {"confirm": "6s"}
EMPTY = (
    "systemctl stop app.socket app-worker steady; rm -rf /nix/var/flakeup /run/flakeup"
    " /run/current-system /run/systemd/system/* /etc/static /boot/loader"
    " /nix/var/nix/profiles/system*; systemctl daemon-reload"
)
"""Removes a system and every trace of it; the store stays."""


def with_a_shared_connection(scenario: Scenario) -> CommandResult:
    """The user's ssh configuration shares connections, and one is already open."""
    assert isinstance(scenario, EngineScenario)
    home = scenario.host.workspace.user
    folder = home / ".ssh"
    folder.mkdir(exist_ok=True)
    socket = f"{scenario.host.keys}/mux-{scenario.host.name}"
    (folder / "config").write_text(
        f"Host *\n  ControlMaster auto\n  ControlPath {socket}\n  ControlPersist 60\n"
        "  StrictHostKeyChecking no\n"
    )
    scenario.cleanup.callback((folder / "config").unlink)
    address = scenario.host.container.address
    words = ("ssh", "-F", str(folder / "config"), "-i", str(scenario.host.keys / "client"))
    known = ("-o", f"UserKnownHostsFile={scenario.host.keys}/mux-known")
    argv = (*words, *known, "-N", "-f", "-l", "root", address)
    quiet = subprocess.DEVNULL
    subprocess.run(argv, check=True, timeout=30, stdin=quiet, stdout=quiet, stderr=quiet)
    end = ("ssh", "-F", str(folder / "config"), "-O", "exit", "-l", "root", address)
    scenario.cleanup.callback(
        subprocess.run, end, check=False, timeout=30, stderr=subprocess.DEVNULL
    )
    return scenario.deploy("sshd-stopped", activation=LOCKOUT)


def other_key_from_the_start(scenario: Scenario) -> CommandResult:
    """Another machine answers at the host's address."""
    scenario.shell.run(OTHER_KEY)
    scenario.on_cleanup(OWN_KEY)
    return scenario.deploy()


def other_key_at_the_commit(scenario: Scenario) -> CommandResult:
    """The same from the activation on, until the host has rolled back."""
    with scenario.deploying("slow", activation=LOCKOUT) as deployment:
        scenario.wait_for_phase("activate")
        scenario.on_cleanup(OWN_KEY)
        scenario.mark_fault()
        scenario.shell.run(OTHER_KEY)
        scenario.wait_for_state("rolled-back", "committed", seconds=60)
        scenario.shell.run(OWN_KEY)
        return deployment.wait()


def other_machine(scenario: Scenario) -> CommandResult:
    """A new machine with the old name and address, another host key and no system.

    It is refused until the config has the new key, and then until it is deployed to explicitly,
    as it does not run what the state records.
    """
    assert isinstance(scenario, EngineScenario)
    name, workspace = scenario.host.name, scenario.host.workspace
    scenario.shell.run(EMPTY)
    refused = other_key_from_the_start(scenario)
    assert refused.code, "a machine with another host key was deployed to"
    assert "host key mismatch" in refused.text, refused.text
    assert not scenario.shell.succeeds(f"test -e {STATE}"), "the other machine was touched"
    new_key = " ".join(scenario.shell.output(f"ssh-keygen -y -f {KEY}").split()[:2])
    scenario.host.write_config(hosts=workspace.hosts(**{name: {"hostKey": new_key}}))
    refused = workspace.up()
    assert refused.code, "an empty machine was taken for the recorded one"
    assert "--replace" in refused.text, refused.text
    urns = workspace.pulumi("stack", "--show-urns").text
    (urn,) = set(re.findall(rf"urn:\S+::{name}-switch\b", urns))
    return workspace.up("--replace", urn)


ROWS = (
    Row(
        id="F5a", expected=Outcome.OLD, inject=bad("sshd-stopped", activation=LOCKOUT), quick=1,
        within=30, message="(?i)connection refused", what="NEW stops sshd",
    ),
    Row(
        id="F5a2", expected=Outcome.OLD, inject=bad("sshd-stopped", activation=LOCKOUT),
        driver=Driver.PIPELINE, times=3, within=30, what="the same, without the engine",
    ),
    Row(
        id="F5b", expected=Outcome.OLD, inject=bad("sshd-invalid", activation=LOCKOUT), within=30,
        message=r"(?i)unit ssh\.service failed|connection refused",
        what="NEW has an invalid sshd configuration",
    ),
    Row(
        id="F5c", expected=Outcome.OLD, inject=bad("sshd-port", activation=LOCKOUT), within=30,
        message="(?i)connection refused", what="NEW runs sshd on another port",
    ),
    Row(
        id="F5d", expected=Outcome.OLD, inject=bad("sshd-host-key", activation=LOCKOUT), quick=1,
        within=30, message="host key", what="NEW has another host key",
    ),
    Row(
        id="F5e", expected=Outcome.OLD, inject=bad("sshd-keys", activation=LOCKOUT), within=30,
        message="(?i)permission denied|unable to authenticate|login was refused",
        what="NEW does not accept our key",
    ),
    Row(
        id="F5f", expected=Outcome.OLD, inject=with_a_shared_connection, within=30,
        what="as F5a, while the user's ssh configuration shares an open connection",
    ),
    Row(
        id="F6a", expected=Outcome.OLD, inject=bad("blackhole", activation=LOCKOUT), within=30,
        what="NEW has no route back to the deployer",
    ),
    Row(
        id="F6b", expected=Outcome.OLD, inject=bad("link-down", activation=LOCKOUT), within=30,
        what="NEW takes the network link down",
    ),
    Row(
        id="F6c", expected=Outcome.OLD, inject=bad("drop", activation=LOCKOUT), within=30,
        what="NEW drops all incoming packets",
    ),
    Row(
        id="F18", expected=Outcome.OLD, inject=other_key_from_the_start, quick=1,
        message="host key mismatch", what="another machine answers at the address",
    ),
    Row(
        id="F18b", expected=Outcome.OLD, inject=other_key_at_the_commit, within=30,
        what="another machine answers at the address when the commit is sent",
    ),
    Row(
        id="F19", expected=Outcome.NEW, inject=other_machine,
        what="a new machine has the old one's name and address",
    ),
)  # fmt: skip
