"""All rows of the fault matrix, one module per group."""

from typing import Final

from tests.faults.row import Row
from tests.faults.rows import (
    access,
    activation,
    by_hand,
    commits,
    copying,
    deployer,
    disk_full,
    docker,
    fleet,
    garbage,
    health,
    healthy,
    incus,
    mounts,
    power_cut,
    release,
    replies,
    service_manager,
    systems,
    way_back,
)

ALL: Final[tuple[Row, ...]] = (
    *copying.ROWS,
    *activation.ROWS,
    *power_cut.ROWS,
    *garbage.ROWS,
    *service_manager.ROWS,
    *way_back.ROWS,
    *by_hand.ROWS,
    *systems.ROWS,
    *mounts.ROWS,
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
