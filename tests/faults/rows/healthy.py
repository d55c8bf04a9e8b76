"""Nothing is wrong: a guard that takes back a good release is a fault of its own (H)."""

from components.pipeline.config.activation_table import ACTIVATION
from harness.command_result import CommandResult, Json
from tests.faults.row import By, Ending, Row
from tests.faults.scene import Scene

GROUP = "healthy"
DEFAULTS: Json = {
    name: ACTIVATION[name].default
    for name in ("timeout", "settle", "checkDeadline", "confirm", "commit")
}
"""The rig's own times are a tenth of what people have: on a host without a free core they say
nothing about a good release."""


def healthy(scene: Scene) -> CommandResult:
    return scene.deploy()


def under_load(scene: Scene) -> CommandResult:
    scene.grip.sh(
        "for n in 1 2 3 4; do systemd-run -q --collect --unit=load-$n"
        " sh -c 'while :; do :; done'; done"
    )
    scene.later("systemctl stop load-1 load-2 load-3 load-4")
    return scene.deploy(times=DEFAULTS)


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
        within=180, what="four busy loops on the host, the times as they are by default",
    ),
)  # fmt: skip
