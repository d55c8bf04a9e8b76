"""Systems that do not work: units, scripts and boot loaders that fail (F9, F13, F7c)."""

from collections.abc import Callable

from tests.e2e.said import Said
from tests.faults.row import By, Ending, Row
from tests.faults.scene import EngineScene, Scene

GROUP = "systems"
SETTLE = {"settle": "4s"}


def bad(name: str, **how: object) -> Callable[[Scene], Said]:
    """Deploy a system that has its fault in it."""

    def play(scene: Scene) -> Said:
        return scene.deploy(name, **how)

    return play


def failed_before(scene: Scene) -> Said:
    """A unit of somebody else's is in trouble before; it is not the release's fault."""
    place = "/run/systemd/system/old-trouble.service"
    unit = "[Service]\\nType=exec\\nRestart=always\\nRestartSec=5\\nExecStart=/bin/false\\n"
    scene.grip.sh(f"printf '{unit}' >{place}; systemctl daemon-reload")
    scene.later(f"systemctl stop old-trouble; rm {place}; systemctl daemon-reload")
    scene.grip.sh("systemctl start --no-block old-trouble")
    scene.grip.until('[ "$(systemctl is-active old-trouble)" != active ]')
    return scene.deploy()


def old_fails_too(scene: Scene) -> Said:
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
