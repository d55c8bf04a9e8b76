"""The login key is in the project's folder for as long as a run needs it there, and no longer.

At the end of an update that fails, Pulumi kills its language host with all processes of its group
(3.259), so no program can clean up after itself. A process outside that group waits for the end.
"""

import fcntl
import os
import sys
from pathlib import Path
from typing import Final

from ..process.run import start_detached

LOCK: Final = "lock"
_REMOVE: Final = Path(__file__).with_name("remove_key.py")


def hold(folder: Path) -> None:
    """Lock the key file in `folder` until this process ends; then it is removed.

    Runs of one stack may overlap (a preview, an `up`): the key leaves with the last one. Where the
    file system has no locks, it stays.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Neither closed by us nor inherited by others: its end is the end of this process.
    lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_SH)
    except OSError:
        return
    start_detached((sys.executable, "-I", "-S", str(_REMOVE), str(folder)))
