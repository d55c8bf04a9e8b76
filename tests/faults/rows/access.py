"""Systems that shut us out, and hosts that are not who they were (F5, F6, F18, F19)."""

import re
import subprocess

from harness.command_result import CommandResult
from tests.faults.host_tools import STATE
from tests.faults.row import By, Ending, Row
from tests.faults.rows.systems import bad
from tests.faults.scene import EngineScene, Scene

GROUP = "access"
KEY = "/etc/ssh/ssh_host_ed25519_key"
OTHER_KEY = (
    f"mv {KEY} {KEY}.aside && ssh-keygen -q -t ed25519 -N '' -f {KEY} && rm {KEY}.pub"
    " && systemctl restart ssh"
)
OWN_KEY = f"test ! -e {KEY}.aside || {{ mv -f {KEY}.aside {KEY} && systemctl restart ssh; }}"
SHUT = {"confirm": "6s"}
EMPTY = (
    "systemctl stop app.socket app-worker steady; rm -rf /nix/var/flakeup /run/flakeup"
    " /run/current-system /run/systemd/system/* /etc/static /boot/loader"
    " /nix/var/nix/profiles/system*; systemctl daemon-reload"
)
"""Takes a system away, and all that says that there ever was one; the store stays."""


def with_a_shared_connection(scene: Scene) -> CommandResult:
    """A person's own ssh configuration shares connections, and one is open already."""
    assert isinstance(scene, EngineScene)
    home = scene.site.workspace.user
    folder = home / ".ssh"
    folder.mkdir(exist_ok=True)
    socket = f"{scene.site.keys}/mux-{scene.site.host.name}"
    (folder / "config").write_text(
        f"Host *\n  ControlMaster auto\n  ControlPath {socket}\n  ControlPersist 60\n"
        "  StrictHostKeyChecking no\n"
    )
    scene.undo.callback((folder / "config").unlink)
    address = scene.site.host.address
    words = ("ssh", "-F", str(folder / "config"), "-i", str(scene.site.keys / "client"))
    known = ("-o", f"UserKnownHostsFile={scene.site.keys}/mux-known")
    argv = (*words, *known, "-N", "-f", "-l", "root", address)
    quiet = subprocess.DEVNULL
    subprocess.run(argv, check=True, timeout=30, stdin=quiet, stdout=quiet, stderr=quiet)
    end = ("ssh", "-F", str(folder / "config"), "-O", "exit", "-l", "root", address)
    scene.undo.callback(subprocess.run, end, check=False, timeout=30, stderr=subprocess.DEVNULL)
    return scene.deploy("sshd-stopped", times=SHUT)


def other_key_from_the_start(scene: Scene) -> CommandResult:
    """Somebody else answers at the host's address."""
    scene.grip.sh(OTHER_KEY)
    scene.later(OWN_KEY)
    return scene.deploy()


def other_key_at_the_commit(scene: Scene) -> CommandResult:
    """The same from the activation on, until the host has gone back."""
    with scene.going("slow", times=SHUT) as going:
        scene.at_phase("activate")
        scene.later(OWN_KEY)
        scene.mark()
        scene.grip.sh(OTHER_KEY)
        scene.at_state("rolled-back", "committed", seconds=60)
        scene.grip.sh(OWN_KEY)
        return going.end()


def other_machine(scene: Scene) -> CommandResult:
    """A new machine under the old name and address, with a key of its own and no system of ours.

    It is refused until its owner has put the new key into the config; and then until somebody
    says that it is to get the release, since it does not run what the state says.
    """
    assert isinstance(scene, EngineScene)
    name, workspace = scene.site.host.name, scene.site.workspace
    scene.grip.sh(EMPTY)
    refused = other_key_from_the_start(scene)
    assert refused.code, "a machine with another key was deployed to"
    assert "host key mismatch" in refused.text, refused.text
    assert not scene.grip.tries(f"test -e {STATE}"), "the other machine was touched"
    new_key = " ".join(scene.grip.ask(f"ssh-keygen -y -f {KEY}").split()[:2])
    scene.site.write(hosts=workspace.hosts(**{name: {"hostKey": new_key}}))
    refused = workspace.up()
    assert refused.code, "an empty machine was taken for the one in the state"
    assert "--replace" in refused.text, refused.text
    urns = workspace.pulumi("stack", "--show-urns").text
    (urn,) = set(re.findall(rf"urn:\S+::{name}-switch\b", urns))
    return workspace.up("--replace", urn)


ROWS = (
    Row(
        id="F5a", group=GROUP, expected=Ending.OLD, play=bad("sshd-stopped", times=SHUT), quick=1,
        within=30, says="(?i)connection refused", what="NEW stops sshd",
    ),
    Row(
        id="F5a2", group=GROUP, expected=Ending.OLD, play=bad("sshd-stopped", times=SHUT),
        by=By.CLASSES, times=3, within=30, what="the same, without the engine",
    ),
    Row(
        id="F5b", group=GROUP, expected=Ending.OLD, play=bad("sshd-invalid", times=SHUT), within=30,
        says=r"(?i)unit ssh\.service failed|connection refused",
        what="NEW has an sshd configuration that sshd refuses",
    ),
    Row(
        id="F5c", group=GROUP, expected=Ending.OLD, play=bad("sshd-port", times=SHUT), within=30,
        says="(?i)connection refused", what="NEW has sshd on another port",
    ),
    Row(
        id="F5d", group=GROUP, expected=Ending.OLD, play=bad("sshd-host-key", times=SHUT), quick=1,
        within=30, says="host key", what="NEW has another host key",
    ),
    Row(
        id="F5e", group=GROUP, expected=Ending.OLD, play=bad("sshd-keys", times=SHUT), within=30,
        says="(?i)permission denied|unable to authenticate|login was refused",
        what="NEW does not let our key in",
    ),
    Row(
        id="F5f", group=GROUP, expected=Ending.OLD, play=with_a_shared_connection, within=30,
        what="as F5a, and the user's ssh configuration shares an open connection",
    ),
    Row(
        id="F6a", group=GROUP, expected=Ending.OLD, play=bad("blackhole", times=SHUT), within=30,
        what="NEW has no route back to the deployer",
    ),
    Row(
        id="F6b", group=GROUP, expected=Ending.OLD, play=bad("link-down", times=SHUT), within=30,
        what="NEW takes the network link down",
    ),
    Row(
        id="F6c", group=GROUP, expected=Ending.OLD, play=bad("drop", times=SHUT), within=30,
        what="NEW drops all that comes in",
    ),
    Row(
        id="F18", group=GROUP, expected=Ending.OLD, play=other_key_from_the_start, quick=1,
        says="host key mismatch", what="another machine answers at the address",
    ),
    Row(
        id="F18b", group=GROUP, expected=Ending.OLD, play=other_key_at_the_commit, within=30,
        what="another machine answers at the address when the commit is sent",
    ),
    Row(
        id="F19", group=GROUP, expected=Ending.NEW, play=other_machine,
        what="a new machine has the old one's name and address",
    ),
)  # fmt: skip
