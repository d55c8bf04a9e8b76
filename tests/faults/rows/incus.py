"""A host that is created in Incus, and faults of the daemon, the deployer and the image (F23)."""

from harness.command_result import CommandResult
from tests.faults.incus_target import NAME, InstanceScenario
from tests.faults.row import Driver, Outcome, Row
from tests.faults.rows.daemon_faults import DaemonFaults

IMPORT = "POST /1.0/images"
CREATE = r"POST /1.0/instances\?"
START = f"PUT /1.0/instances/{NAME}/state"
EXEC = f"POST /1.0/instances/{NAME}/exec"
FAULTS = DaemonFaults(image=IMPORT, steps=(IMPORT, CREATE, START, EXEC), after=1.5)
"""Upload the image, create the instance, start it, and wait for it."""


def refused(scenario: InstanceScenario) -> CommandResult:
    """Incus does not create the instance."""
    return _not_created(scenario, profiles=["default", "nobody-has-it"])


def unstartable(scenario: InstanceScenario) -> CommandResult:
    """Incus creates the instance, but cannot start it."""
    return _not_created(scenario, devices={"card": {"type": "gpu"}})


def _not_created(scenario: InstanceScenario, **incus: object) -> CommandResult:
    result = scenario.deploy(hosts=scenario.hosts_config(**incus))
    assert not scenario.daemon.instances(), f"not removed: {scenario.daemon.instances()}"
    return result


def image_removed(scenario: InstanceScenario) -> CommandResult:
    """Remove the image between its import and the creation of the instance."""
    with scenario.deploying() as engine:
        with scenario.proxy.hold(CREATE) as creation:
            creation.wait()
            (image,) = scenario.daemon.images()
            scenario.daemon.request("DELETE", f"/1.0/images/{image}")
        return engine.wait()


def name_taken(scenario: InstanceScenario) -> CommandResult:
    """Somebody else's instance has the name; it must not be touched."""
    wanted = {"name": NAME, "type": "container", "source": {"type": "none"}}
    scenario.daemon.request("POST", "/1.0/instances", wanted)
    scenario.cleanup.callback(scenario.daemon.request, "DELETE", f"/1.0/instances/{NAME}")
    before = scenario.daemon.instance(NAME)
    result = scenario.deploy()
    assert scenario.daemon.instance(NAME) == before, "it was touched"
    return result


ROWS = (
    Row(
        id="F23a", driver=Driver.INSTANCE, expected=Outcome.NEW, inject=FAULTS.image_cut,
        what="Incus: the connection is cut in the middle of the image of a new host",
    ),
    Row(
        id="F23b", driver=Driver.INSTANCE, expected=Outcome.OLD, inject=refused,
        message="Incus refused the instance", what="Incus: the instance is refused",
    ),
    Row(
        id="F23c", driver=Driver.INSTANCE, expected=Outcome.OLD, inject=unstartable,
        message="Incus refused the instance", what="Incus: the instance cannot be started",
    ),
    Row(
        id="F23d", driver=Driver.INSTANCE, expected=Outcome.EITHER, inject=FAULTS.restarted,
        times=4, what="incusd is restarted at a random moment of each step",
    ),
    Row(
        id="F23e", driver=Driver.INSTANCE, expected=Outcome.EITHER, inject=FAULTS.killed, times=4,
        what="incusd is killed at a random moment of each step",
    ),
    Row(
        id="F23f", driver=Driver.INSTANCE, expected=Outcome.EITHER, inject=FAULTS.deployer_killed,
        times=4, what="Incus: the deployer is killed at a random moment of each step",
    ),
    Row(
        id="F23g", driver=Driver.INSTANCE, expected=Outcome.EITHER, inject=image_removed,
        what="Incus: the image is removed between its import and the instance",
    ),
    Row(
        id="F23h", driver=Driver.INSTANCE, expected=Outcome.OLD, inject=name_taken,
        message="name taken: .*pulumi import",
        what="Incus: an instance of somebody else's has the name",
    ),
)  # fmt: skip
