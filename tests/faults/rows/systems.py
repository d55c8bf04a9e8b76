"""Systems that do not work: units, scripts and boot loaders that fail (F9, F13, F7c)."""

from collections.abc import Callable

from harness.command_result import CommandResult
from tests.faults.row import By, Ending, Row
from tests.faults.scene import EngineScene, Scene

GROUP = "systems"
SETTLE = {"settle": "4s"}
LONG = {"settle": "8s"}


def bad(name: str, **how: object) -> Callable[[Scene], CommandResult]:
    """Deploy a system that has its fault in it."""

    def play(scene: Scene) -> CommandResult:
        return scene.deploy(name, **how)

    return play


def failed_before(scene: Scene) -> CommandResult:
    """A unit of somebody else's is in trouble before; it is not the release's fault."""
    place = "/run/systemd/system/old-trouble.service"
    unit = "[Service]\\nType=exec\\nRestart=always\\nRestartSec=5\\nExecStart=/bin/false\\n"
    scene.grip.sh(f"printf '{unit}' >{place}; systemctl daemon-reload")
    scene.later(f"systemctl stop old-trouble; rm {place}; systemctl daemon-reload")
    scene.grip.sh("systemctl start --no-block old-trouble")
    scene.grip.until('[ "$(systemctl is-active old-trouble)" != active ]')
    return scene.deploy()


def restless_before(scene: Scene) -> CommandResult:
    """A service of somebody else's is started again over and over, before and after."""
    place = "/run/systemd/system/old-trouble.service"
    unit = (
        "[Unit]\\nStartLimitIntervalSec=0\\n[Service]\\nType=exec\\nRestart=always\\n"
        "RestartSec=1\\nExecStart=/bin/sleep 1\\n"
    )
    scene.grip.sh(f"printf '{unit}' >{place}; systemctl daemon-reload; systemctl start old-trouble")
    scene.later(f"systemctl stop old-trouble; rm {place}; systemctl daemon-reload")
    scene.grip.until('[ "$(systemctl show -P NRestarts old-trouble)" -ge 2 ]')
    return scene.deploy(times=LONG)


def boot_loader_of_both(scene: Scene) -> CommandResult:
    """Nothing can be written where the boot loader is: not by NEW, and not by OLD."""
    boot = "mount --bind /boot /boot && mount -o remount,bind,ro /boot"
    with scene.going("slow") as going:
        scene.at_phase("activate")
        scene.grip.sh(boot)
        scene.later("umount /boot")
        return going.end()


def old_fails_too(scene: Scene) -> CommandResult:
    """OLD has a unit that cannot be started any more when the way back needs it."""
    assert isinstance(scene, EngineScene)
    assert scene.deploy("sick").code == 0
    scene.become_old()
    scene.grip.sh("touch /run/sick")
    scene.later("rm -f /run/sick; systemctl start sick.service")
    return scene.deploy("activate-fails")


ROWS = (
    Row(
        id="F7c", group=GROUP, expected=Ending.OLD, play=bad("unbootable"), quick=1, within=20,
        what="the boot loader cannot be written at the commit",
    ),
    Row(
        id="F7d", group=GROUP, expected=Ending.OLD, play=bad("unbootable"), by=By.CLASSES, times=5,
        within=20, what="the same, without the engine",
    ),
    Row(
        id="F7g", group=GROUP, expected=Ending.OLD, play=boot_loader_of_both, within=20,
        says="boot loader could not be put back",
        what="the boot loader can be written neither by NEW nor by OLD",
    ),
    Row(
        id="F8e", group=GROUP, expected=Ending.OLD, play=bad("boot-hangs"), within=45,
        what="the boot loader hangs at the commit, and ignores SIGTERM",
    ),
    Row(
        id="F9a", group=GROUP, expected=Ending.OLD, play=bad("unit-fails"), times=3, quick=1,
        within=15, says=r"broken\.service.*cannot read its configuration",
        what="a unit fails at once",
    ),
    Row(
        id="F9a2", group=GROUP, expected=Ending.OLD, play=bad("unit-fails"), by=By.CLASSES,
        times=15, within=15, what="the same, without the engine",
    ),
    Row(
        id="F9b", group=GROUP, expected=Ending.OLD,
        play=bad("unit-fails-late", times=SETTLE), within=20,
        says=r"breaks-later\.service",
        what="a unit fails 2 s after its start, while the host settles for 4",
    ),
    Row(
        id="F9b2", group=GROUP, expected=Ending.OLD, by=By.CLASSES, times=3,
        play=bad("unit-fails-late", times=SETTLE), within=20,
        what="the same, without the engine",
    ),
    Row(
        id="F9e", group=GROUP, expected=Ending.NEW, play=failed_before,
        what="a unit that had failed before",
    ),
    Row(
        id="F9f", group=GROUP, expected=Ending.OLD, play=bad("rebooting"), says="needs a reboot",
        what="another init interface: a reboot would be needed",
    ),
    Row(
        id="F9g", group=GROUP, expected=Ending.OLD, play=bad("looping"), within=20,
        says=r"looping\.service", what="a unit that systemd starts over and over",
    ),
    Row(
        id="F9j", group=GROUP, expected=Ending.OLD, play=bad("dying", times=LONG), within=25,
        says=r"dying\.service",
        what="a unit that lives for 2 s, is started again, and so never fails",
    ),
    Row(
        id="F9k", group=GROUP, expected=Ending.NEW, play=restless_before,
        what="a unit that was started over and over before, too",
    ),
    Row(
        id="F9l", group=GROUP, expected=Ending.OLD, play=bad("hanging-check"), within=90,
        says="did not end within 60 s", what="the pre-switch checks hang",
    ),
    Row(
        id="F9m", group=GROUP, expected=Ending.OLD, play=bad("mounting"), within=20,
        says=r"broken\.service", what="NEW mounts a file system over /var/lib, and a unit fails",
    ),
    Row(
        id="F9n", group=GROUP, expected=Ending.OLD, play=bad("tool-less"), within=30,
        says=r"broken\.service", what="the tools of NEW do nothing but fail, and so does a unit",
    ),
    Row(
        id="F9h", group=GROUP, expected=Ending.OLD, play=bad("activate-fails"), within=15,
        says="read-only file system", what="the activation script fails",
    ),
    Row(
        id="F9h2", group=GROUP, expected=Ending.OLD, play=bad("activate-fails"), by=By.CLASSES,
        times=15, quick=1, within=15, what="the same, without the engine",
    ),
    Row(
        id="F9i", group=GROUP, expected=Ending.OLD, play=bad("unchecked"),
        says="not safe", what="the pre-switch checks refuse",
    ),
    Row(
        id="F13a", group=GROUP, expected=Ending.OLD, play=old_fails_too, within=20,
        what="a unit of OLD does not start again on the way back",
    ),
)  # fmt: skip
