"""A host that is made in Incus, and harm to the daemon, the deployer or the image (F23)."""

from harness.command_result import CommandResult
from tests.faults.instance import NAME, InstanceScene
from tests.faults.row import By, Ending, Row
from tests.faults.rows.harm import Harm

GROUP = "incus"
IMPORT = "POST /1.0/images"
MAKE = r"POST /1.0/instances\?"
START = f"PUT /1.0/instances/{NAME}/state"
LOOK = f"POST /1.0/instances/{NAME}/exec"
HARM = Harm(image=IMPORT, steps=(IMPORT, MAKE, START, LOOK), after=1.5)
"""The image is sent, the instance made, started, and waited for."""


def refused(scene: InstanceScene) -> CommandResult:
    """Incus does not even make it."""
    return _unmade(scene, profiles=["default", "nobody-has-it"])


def unstartable(scene: InstanceScene) -> CommandResult:
    """Incus makes it, and cannot start it."""
    return _unmade(scene, devices={"card": {"type": "gpu"}})


def _unmade(scene: InstanceScene, **incus: object) -> CommandResult:
    result = scene.deploy(hosts=scene.host(**incus))
    assert not scene.daemon.instances(), f"left behind: {scene.daemon.instances()}"
    return result


def image_removed(scene: InstanceScene) -> CommandResult:
    """Between its import and the instance."""
    with scene.going() as engine:
        scene.proxy.slow(MAKE, 2).wait()
        (image,) = scene.daemon.images()
        scene.daemon.ask("DELETE", f"/1.0/images/{image}")
        return engine.end()


def name_taken(scene: InstanceScene) -> CommandResult:
    """Somebody has an instance of the name; it stays as it is."""
    wanted = {"name": NAME, "type": "container", "source": {"type": "none"}}
    scene.daemon.ask("POST", "/1.0/instances", wanted)
    scene.undo.callback(scene.daemon.ask, "DELETE", f"/1.0/instances/{NAME}")
    before = scene.daemon.instance(NAME)
    result = scene.deploy()
    assert scene.daemon.instance(NAME) == before, "it was touched"
    return result


ROWS = (
    Row(
        id="F23a", group=GROUP, by=By.INSTANCE, expected=Ending.NEW, play=HARM.image_cut,
        what="Incus: the connection is cut in the middle of the image of a new host",
    ),
    Row(
        id="F23b", group=GROUP, by=By.INSTANCE, expected=Ending.OLD, play=refused,
        says="Incus refused the instance", what="Incus: the instance is refused",
    ),
    Row(
        id="F23c", group=GROUP, by=By.INSTANCE, expected=Ending.OLD, play=unstartable,
        says="Incus refused the instance", what="Incus: the instance cannot be started",
    ),
    Row(
        id="F23d", group=GROUP, by=By.INSTANCE, expected=Ending.EITHER, play=HARM.restarted,
        times=4, what="incusd is restarted at a random moment of each step",
    ),
    Row(
        id="F23e", group=GROUP, by=By.INSTANCE, expected=Ending.EITHER, play=HARM.killed, times=4,
        what="incusd is killed at a random moment of each step",
    ),
    Row(
        id="F23f", group=GROUP, by=By.INSTANCE, expected=Ending.EITHER, play=HARM.deployer_killed,
        times=4, what="Incus: the deployer is killed at a random moment of each step",
    ),
    Row(
        id="F23g", group=GROUP, by=By.INSTANCE, expected=Ending.EITHER, play=image_removed,
        what="Incus: the image is removed between its import and the instance",
    ),
    Row(
        id="F23h", group=GROUP, by=By.INSTANCE, expected=Ending.OLD, play=name_taken,
        says="name taken: .*pulumi import",
        what="Incus: an instance of somebody else's has the name",
    ),
)  # fmt: skip
