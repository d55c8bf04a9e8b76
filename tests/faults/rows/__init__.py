"""All rows of the fault plan, by group."""

from typing import Final

from tests.faults.row import Row
from tests.faults.rows import (
    access,
    activation,
    commits,
    copying,
    deployer,
    docker,
    fleet,
    health,
    healthy,
    incus,
    release,
    replies,
    room,
    systems,
)

ALL: Final[tuple[Row, ...]] = (
    *copying.ROWS,
    *activation.ROWS,
    *systems.ROWS,
    *health.ROWS,
    *access.ROWS,
    *room.ROWS,
    *deployer.ROWS,
    *release.ROWS,
    *commits.ROWS,
    *replies.ROWS,
    *healthy.ROWS,
    *fleet.ROWS,
    *docker.ROWS,
    *incus.ROWS,
)
