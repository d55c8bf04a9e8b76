"""A copy that is cut off (F1), and a cache that does not answer or lies (F17)."""

import threading

from harness.command_result import CommandResult
from tests.e2e.processes import kill
from tests.faults import local
from tests.faults.host_tools import is_running, itself_not
from tests.faults.row import Ending, Row
from tests.faults.scene import EngineScene, Scene

GROUP = "copying"
COPY = ("nix", " copy ", "--to")
REMOTE = "nix-daemon --stdio"
COPYING = is_running(REMOTE)


def kill_nix(scene: Scene) -> CommandResult:
    """The deployer's `nix copy`, or the ssh under it."""
    assert isinstance(scene, EngineScene)
    with scene.going("large") as engine:
        # Held meanwhile, so that the copy cannot end before we get there.
        scene.kill_within(0.15, COPYING, REMOTE, "STOP")
        words = COPY if scene.random.random() < 0.5 else ("ssh", scene.site.host.address, REMOTE)
        killed = kill(local.matching(engine.process.pid, *words))
        # One that stayed held would keep the ssh that is left; there may be none any more.
        scene.grip.sh(f"pkill -CONT -f {itself_not(REMOTE)}; [ $? -le 1 ]")
        assert killed, f"no {words[0]} was there to be killed"
        scene.notes.append(f"{killed} of {words[0]} killed")
        return engine.end()


def kill_remote(scene: Scene) -> CommandResult:
    with scene.going("large") as going:
        scene.kill_within(0.15, COPYING, REMOTE)
        return going.end()


def link_down_for_a_while(scene: Scene) -> CommandResult:
    with scene.going("large") as going:
        scene.grip.until(COPYING)
        scene.grip.sh("ip link set eth0 down")
        scene.mark()
        timer = threading.Timer(8, scene.grip.tries, ("ip link set eth0 up",))
        timer.start()
        scene.undo.callback(timer.join)
        return going.end()


def link_down(scene: Scene) -> CommandResult:
    with scene.going("large") as going:
        scene.grip.until(COPYING)
        scene.grip.sh("ip link set eth0 down")
        scene.undo.callback(scene.grip.started)
        scene.later("ip link set eth0 up")
        scene.mark()
        return going.end()


def dead_cache(scene: Scene) -> CommandResult:
    """The host asks a cache that is not there, and then takes what it is sent."""
    conf = "/etc/nix/nix.conf"
    scene.grip.sh(
        f"cp {conf} {conf}.aside; sed -i '/^substituters/d' {conf};"
        f" echo 'substituters = http://127.0.0.1:9' >>{conf}"
    )
    scene.later(f"mv -f {conf}.aside {conf}")
    return scene.deploy()


ROWS = (
    Row(
        id="F1a", group=GROUP, expected=Ending.EITHER, play=kill_nix, times=3, quick=1,
        what="the local nix or ssh is killed in the copy",
    ),
    Row(
        id="F1b", group=GROUP, expected=Ending.EITHER, play=kill_remote, times=2,
        what="the remote nix is killed in the copy",
    ),
    Row(
        id="F1c", group=GROUP, expected=Ending.EITHER, play=link_down_for_a_while,
        what="the link is down for 8 s in the copy",
    ),
    Row(
        id="F1d", group=GROUP, expected=Ending.OLD, play=link_down,
        what="the link goes down in the copy, and stays down",
    ),
    Row(
        id="F17b", group=GROUP, expected=Ending.NEW, play=dead_cache,
        what="the host's cache does not answer",
    ),
)  # fmt: skip
