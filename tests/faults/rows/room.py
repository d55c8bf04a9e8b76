"""No room: the store, /run and the guard's own folder are full (F7)."""

from harness.command_result import CommandResult
from tests.faults.row import Ending, Row
from tests.faults.rows.copying import COPYING
from tests.faults.scene import Scene

GROUP = "room"
ETC = "/nix/var/flakeup"
FILL = "for size in 64k 1; do dd if=/dev/zero of={0}/filler-$size bs=$size; done 2>/dev/null; true"
FREE = "rm -f {0}/filler-*"


def full_state_before(scene: Scene) -> CommandResult:
    _small_state(scene)
    scene.grip.sh(FILL.format(ETC))
    scene.mark()
    return scene.deploy()


def full_state_meanwhile(scene: Scene) -> CommandResult:
    _small_state(scene)
    with scene.going("slower") as going:
        scene.at_phase("activate")
        scene.grip.sh(FILL.format(ETC))
        scene.mark()
        return going.end()


def _small_state(scene: Scene) -> None:
    """What the guard remembers is on a file system of 1 MB, with the same content."""
    scene.grip.sh(
        f"cp -a {ETC} /root/state && mount -t tmpfs -o size=1M,mode=700 tmpfs {ETC}"
        f" && cp -a /root/state/current {ETC}/ && mkdir {ETC}/attempts"
        f" && cp -a /root/state/attempts/$(basename $(readlink {ETC}/current)) {ETC}/attempts/"
        " && rm -rf /root/state"
    )
    scene.later(
        FREE.format(ETC) + f"; cp -a {ETC} /root/state && umount {ETC}"
        f" && cp -a /root/state/. {ETC}/; rm -rf /root/state"
    )


def full_run(scene: Scene) -> CommandResult:
    with scene.going("slower") as going:
        scene.at_phase("stop")
        scene.later(FREE.format("/run") + "; mount -o remount,size=3G /run")
        scene.mark()
        scene.grip.sh(
            "mount -o remount,size=$(( $(df --output=used -k /run | tail -n 1) + 8 ))k /run && "
            + FILL.format("/run")
        )
        return going.end()


def full_store(scene: Scene) -> CommandResult:
    """A store of its own with 1 MB left: the copy needs thirty."""
    _small_store(scene, "1024")
    return scene.deploy("large")


def full_store_meanwhile(scene: Scene) -> CommandResult:
    _small_store(scene, "40960")
    with scene.going("large") as going:
        scene.grip.until(COPYING)
        scene.grip.sh(FILL.format("/nix"))
        scene.mark()
        return going.end()


def _small_store(scene: Scene, left: str) -> None:
    scene.grip.sh(
        "mkdir -p /mnt/disk && mount --bind /nix /mnt/disk && mount --make-private /mnt/disk"
        " && mount -t tmpfs tmpfs /nix"
        " && cp -a /mnt/disk/. /nix/"
        f" && mount -o remount,size=$(( $(df --output=used -k /nix | tail -n 1) + {left} ))k /nix",
        timeout=60,
    )
    scene.later(
        FREE.format("/nix") + "; mount -o remount,size=1G /nix; rm -rf /mnt/disk/*"
        "; cp -a /nix/. /mnt/disk/; umount /nix; umount /mnt/disk"
    )


ROWS = (
    Row(
        id="F7a", group=GROUP, expected=Ending.OLD, play=full_store, quick=1,
        what="the store has no room for the release",
    ),
    Row(
        id="F7a2", group=GROUP, expected=Ending.EITHER, play=full_store_meanwhile,
        what="the store fills up during the copy",
    ),
    Row(
        id="F7b", group=GROUP, expected=Ending.EITHER, play=full_run, within=60,
        what="/run is full during the activation",
    ),
    Row(
        id="F7e", group=GROUP, expected=Ending.OLD, play=full_state_before,
        what="the guard's own folder is full before",
    ),
    Row(
        id="F7f", group=GROUP, expected=Ending.OLD, play=full_state_meanwhile, within=60,
        forgets=True,
        what="the guard's own folder fills up during the activation",
    ),
)  # fmt: skip
