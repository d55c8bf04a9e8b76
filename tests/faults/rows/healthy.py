"""Nothing is wrong: a guard that takes back a good release is a fault of its own (H)."""

from tests.e2e.said import Said
from tests.faults.row import By, Ending, Row
from tests.faults.scene import Scene

GROUP = "healthy"


def healthy(scene: Scene) -> Said:
    return scene.deploy()


def under_load(scene: Scene) -> Said:
    scene.grip.sh(
        "for n in 1 2 3 4; do systemd-run -q --collect --unit=load-$n"
        " sh -c 'while :; do :; done'; done"
    )
    scene.later("systemctl stop load-1 load-2 load-3 load-4")
    return scene.deploy()


ROWS = (
    Row(
        id="H1", group=GROUP, expected=Ending.NEW, play=healthy, times=3, what="nothing at all",
    ),
    Row(
        id="H2", group=GROUP, expected=Ending.NEW, play=healthy, by=By.CLASSES, times=180, quick=2,
        what="nothing at all, without the engine",
    ),
    Row(
        id="H3", group=GROUP, expected=Ending.NEW, play=under_load, by=By.CLASSES, times=20,
        quick=1, what="four busy loops on the host",
    ),
)  # fmt: skip
