"""Whether one more host can start: the kernel counts the inotify instances of all containers.

Past the limit PID 1 of a container ends at once, or its network never comes up: also in a
container of somebody else. So it is asked for before the first one is made.
"""

from collections.abc import Collection
from pathlib import Path
from typing import Final

from harness.incus import HarnessError, Incus

PER_HOST: Final = 7
"""Inotify instances of one host: systemd has five, udevd and D-Bus one each."""
FLEETS: Final = "flakeup"
"""How the names of all hosts of the project begin."""
_LIMIT: Final = Path("/proc/sys/fs/inotify/max_user_instances")


def check_room(instances: Collection[str]) -> None:
    """Refuse to make these containers beside those that run already, where they have no room.

    Raises:
        HarnessError: they have none; how to get it.
    """
    running = {one.name for one in Incus.ready().instances(FLEETS).values() if one.running}
    needed = PER_HOST * len(running | set(instances))
    limit = int(_LIMIT.read_text())
    if needed > limit:
        others = len(running - set(instances))
        msg = (
            f"no room for {len(instances)} hosts beside {others} others: they need {needed} inotify"
            f" instances, and fs.inotify.max_user_instances is {limit}; stop the others, or run"
            f" `sysctl -w fs.inotify.max_user_instances={max(1024, 2 * needed)}`"
        )
        raise HarnessError(msg)
