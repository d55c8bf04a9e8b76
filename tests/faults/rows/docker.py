"""Faults of a Docker service's daemon, deployer and images (F22)."""

import re
import time

from harness.command_result import CommandResult
from tests.e2e.docker_steps import LOAD, STEPS
from tests.faults.docker_target import ServiceScenario
from tests.faults.row import Driver, Outcome, Row
from tests.faults.rows.daemon_faults import DaemonFaults

FAULTS = DaemonFaults(image=LOAD.request, steps=tuple(step.request for step in STEPS), after=1.0)
"""Load the image, run the candidate, create the container, move the traffic."""
CREATE = "^POST /containers/create"
AFTER_KILL = 90.0
"""Seconds until the service is back after dockerd was killed: it stops the containers that it finds
running (10 s), and may keep their network and its addresses in use for another minute."""
BUSY = ("/bin/busybox", "sleep", "86400")


def unhealthy(scenario: ServiceScenario) -> CommandResult:
    scenario.new = "v3"
    return scenario.deploy()


def away(scenario: ServiceScenario) -> CommandResult:
    """The deployer cannot reach the daemon, which itself keeps running."""
    with FAULTS.at_step(scenario) as engine:
        with scenario.proxy.down():
            scenario.mark_fault()
            time.sleep(5)
        return engine.wait()


def new_image_removed(scenario: ServiceScenario) -> CommandResult:
    """Remove the new image between its load and the candidate."""
    with scenario.deploying() as engine:
        with scenario.proxy.hold(CREATE) as creation:
            creation.wait()
            scenario.inspector.delete(f"/images/{scenario.new_image()}?force=1")
        return engine.wait()


def old_image_removed(scenario: ServiceScenario) -> CommandResult:
    """Remove the name of the serving container's image while the candidate runs."""
    image = scenario.daemon.seen.container(scenario.serving)["Config"]["Image"]
    with scenario.deploying() as engine:
        with scenario.proxy.hold(CREATE) as creation:
            creation.wait()
            scenario.inspector.delete(f"/images/{image}?force=1")
        return engine.wait()


def port_taken(scenario: ServiceScenario) -> CommandResult:
    """A container of somebody else's has the port that the service is to publish."""
    port = scenario.stack.port + 1
    name = f"somebody-{scenario.seed}"
    body = {
        "Image": scenario.daemon.seen.container(scenario.serving)["Config"]["Image"],
        "Cmd": BUSY,
        "ExposedPorts": {"9/tcp": {}},
        "HostConfig": {"PortBindings": {"9/tcp": [{"HostPort": str(port)}]}},
    }
    scenario.inspector.post(f"/containers/create?name={name}", body)
    scenario.cleanup.callback(scenario.inspector.delete, f"/containers/{name}?force=1")
    scenario.inspector.post(f"/containers/{name}/start")
    service = scenario.stack.service(ports={str(port): "8080"})
    result = scenario.deploy(services={"app": service})
    state = scenario.daemon.seen.container(name)["State"]
    assert state["Running"], f"somebody's container: {state}"
    assert re.search(f"{port}", result.text), result.text
    return result


ROWS = (
    Row(
        id="F22a", driver=Driver.SERVICE, expected=Outcome.NEW, inject=FAULTS.image_cut, times=2,
        no_downtime=True, what="Docker: the connection is cut in the middle of the image",
    ),
    Row(
        id="F22b", driver=Driver.SERVICE, expected=Outcome.OLD, inject=unhealthy, no_downtime=True,
        message="not healthy: app", what="Docker: the container of NEW is not healthy",
    ),
    Row(
        id="F22c", driver=Driver.SERVICE, expected=Outcome.EITHER, inject=away, times=4,
        no_downtime=True, what="dockerd does not answer for 5 s, at a random moment of each step",
    ),
    Row(
        id="F22d", driver=Driver.SERVICE, expected=Outcome.EITHER, inject=FAULTS.restarted, times=4,
        within=40, what="dockerd is restarted at a random moment of each step",
    ),
    Row(
        id="F22e", driver=Driver.SERVICE, expected=Outcome.EITHER, inject=FAULTS.killed, times=4,
        within=AFTER_KILL, what="dockerd is killed at a random moment of each step",
    ),
    Row(
        id="F22f", driver=Driver.SERVICE, expected=Outcome.EITHER, inject=FAULTS.deployer_killed,
        times=4, no_downtime=True,
        what="Docker: the deployer is killed at a random moment of each step",
    ),
    Row(
        id="F22g", driver=Driver.SERVICE, expected=Outcome.OLD, inject=new_image_removed,
        no_downtime=True, message="(?i)no such image",
        what="Docker: the new image is removed after its load",
    ),
    Row(
        id="F22h", driver=Driver.SERVICE, expected=Outcome.NEW, inject=old_image_removed,
        no_downtime=True,
        what="Docker: the image of the serving container is removed during the release",
    ),
    Row(
        id="F22i", driver=Driver.SERVICE, expected=Outcome.OLD, inject=port_taken, no_downtime=True,
        message="port already in use: app", what="Docker: somebody else's container has the port",
    ),
)  # fmt: skip
