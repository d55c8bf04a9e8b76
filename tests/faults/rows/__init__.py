"""All rows of the fault matrix, one module per group."""

from typing import Final

from tests.faults.row import Row
from tests.faults.rows import (
    access,
    activation,
    commits,
    copying,
    deployer,
    disk_full,
    docker,
    fleet,
    health,
    healthy,
    incus,
    release,
    replies,
    systems,
)

ALL: Final[tuple[Row, ...]] = (
    *copying.ROWS,
    *activation.ROWS,
    *systems.ROWS,
    *health.ROWS,
    *access.ROWS,
    *disk_full.ROWS,
    *deployer.ROWS,
    *release.ROWS,
    *commits.ROWS,
    *replies.ROWS,
    *healthy.ROWS,
    *fleet.ROWS,
    *docker.ROWS,
    *incus.ROWS,
)
