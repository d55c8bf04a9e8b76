"""Checks the kernel's limit of inotify instances, which all containers share.

Beyond it, PID 1 of a container exits at once or its network never comes up, even in containers of
somebody else. So it is checked before the first container is created.
"""

from collections.abc import Collection
from pathlib import Path
from typing import Final

from harness.incus import HarnessError, Incus

PER_HOST: Final = 7
"""Inotify instances of a host: five of systemd, one each of udevd and D-Bus."""
FLEETS: Final = "flakeup"
"""Prefix of the names of all our hosts."""
_LIMIT: Final = Path("/proc/sys/fs/inotify/max_user_instances")


def check_inotify_limit(instances: Collection[str]) -> None:
    """Check that these containers can run in addition to those that are up.

    Raises:
        HarnessError: the limit is too low; the message says how to raise it.
    """
    running = {one.name for one in Incus.ready().instances(FLEETS).values() if one.running}
    needed = PER_HOST * len(running | set(instances))
    limit = int(_LIMIT.read_text())
    if needed > limit:
        others = len(running - set(instances))
        msg = (
            f"too few inotify instances for {len(instances)} hosts and {others} others: they need"
            f" {needed}, and fs.inotify.max_user_instances is {limit}; stop the others, or run"
            f" `sysctl -w fs.inotify.max_user_instances={max(1024, 2 * needed)}`"
        )
        raise HarnessError(msg)
