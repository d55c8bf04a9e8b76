"""A Docker service whose daemon, deployer or images come to harm (F22)."""

import re
import time

from harness.command_result import CommandResult
from tests.e2e.docker_steps import LOAD, STEPS
from tests.faults.row import By, Ending, Row
from tests.faults.rows.harm import Harm
from tests.faults.service import ServiceScene

GROUP = "docker"
HARM = Harm(image=LOAD.request, steps=tuple(step.request for step in STEPS), after=1.0)
"""The image is loaded, the candidate tried, the container made, the traffic moved."""
TRY = "^POST /containers/create"
KILLED = 90.0
"""Seconds until it serves again where dockerd was killed: it ends what it finds running (10 s), and
may keep the network of that, with the address of what serves, for another minute."""
BUSY = ("/bin/busybox", "sleep", "86400")


def unhealthy(scene: ServiceScene) -> CommandResult:
    scene.new = "v3"
    return scene.deploy()


def away(scene: ServiceScene) -> CommandResult:
    """Nobody answers the deployer; the daemon itself, and what it runs, is well."""
    with HARM.step(scene) as engine:
        with scene.proxy.gone():
            scene.mark()
            time.sleep(5)
        return engine.end()


def new_image_removed(scene: ServiceScene) -> CommandResult:
    """Between its load and the candidate."""
    with scene.going() as engine:
        scene.proxy.slow(TRY, 2).wait()
        scene.inspector.delete(f"/images/{scene.new_image()}?force=1")
        return engine.end()


def old_image_removed(scene: ServiceScene) -> CommandResult:
    """That of what serves, by its name, while the candidate is tried."""
    image = scene.daemon.seen.container(scene.serving)["Config"]["Image"]
    with scene.going() as engine:
        scene.proxy.slow(TRY, 2).wait()
        scene.inspector.delete(f"/images/{image}?force=1")
        return engine.end()


def port_taken(scene: ServiceScene) -> CommandResult:
    """The service is to have a port, which a container has that is nobody's of the stack."""
    port = scene.stack.port + 1
    name = f"somebody-{scene.seed}"
    body = {
        "Image": scene.daemon.seen.container(scene.serving)["Config"]["Image"],
        "Cmd": BUSY,
        "ExposedPorts": {"9/tcp": {}},
        "HostConfig": {"PortBindings": {"9/tcp": [{"HostPort": str(port)}]}},
    }
    scene.inspector.post(f"/containers/create?name={name}", body)
    scene.undo.callback(scene.inspector.delete, f"/containers/{name}?force=1")
    scene.inspector.post(f"/containers/{name}/start")
    service = scene.stack.service(ports={str(port): "8080"})
    result = scene.deploy(services={"app": service})
    state = scene.daemon.seen.container(name)["State"]
    assert state["Running"], f"somebody's container: {state}"
    assert re.search(f"{port}", result.text), result.text
    return result


ROWS = (
    Row(
        id="F22a", group=GROUP, by=By.SERVICE, expected=Ending.NEW, play=HARM.image_cut, times=2,
        unnoticed=True, what="Docker: the connection is cut in the middle of the image",
    ),
    Row(
        id="F22b", group=GROUP, by=By.SERVICE, expected=Ending.OLD, play=unhealthy,
        unnoticed=True, says="not healthy: app", what="Docker: the container of NEW is not healthy",
    ),
    Row(
        id="F22c", group=GROUP, by=By.SERVICE, expected=Ending.EITHER, play=away, times=4,
        unnoticed=True, what="dockerd does not answer for 5 s, at a random moment of each step",
    ),
    Row(
        id="F22d", group=GROUP, by=By.SERVICE, expected=Ending.EITHER, play=HARM.restarted, times=4,
        within=40, what="dockerd is restarted at a random moment of each step",
    ),
    Row(
        id="F22e", group=GROUP, by=By.SERVICE, expected=Ending.EITHER, play=HARM.killed, times=4,
        within=KILLED, what="dockerd is killed at a random moment of each step",
    ),
    Row(
        id="F22f", group=GROUP, by=By.SERVICE, expected=Ending.EITHER, play=HARM.deployer_killed,
        times=4, unnoticed=True,
        what="Docker: the deployer is killed at a random moment of each step",
    ),
    Row(
        id="F22g", group=GROUP, by=By.SERVICE, expected=Ending.OLD, play=new_image_removed,
        unnoticed=True, says="(?i)no such image",
        what="Docker: the new image is removed after its load",
    ),
    Row(
        id="F22h", group=GROUP, by=By.SERVICE, expected=Ending.NEW, play=old_image_removed,
        unnoticed=True, what="Docker: the image of what serves is removed during the release",
    ),
    Row(
        id="F22i", group=GROUP, by=By.SERVICE, expected=Ending.OLD, play=port_taken,
        unnoticed=True, says="a port is taken: app",
        what="Docker: somebody else's container has the port",
    ),
)  # fmt: skip
