"""Removes the login key of a stack, once no run uses it: the script that `key_lock.hold` starts."""

import fcntl
import sys
from pathlib import Path


def main() -> None:
    """Wait for the lock in the folder of ssh files, the only argument, then remove the key."""
    folder = Path(sys.argv[1])
    with (folder / "lock").open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        (folder / "key").unlink(missing_ok=True)


if __name__ == "__main__":
    main()
