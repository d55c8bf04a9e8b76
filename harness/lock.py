"""Locks for commands that share hosts and folders."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.incus import HarnessError


@contextmanager
def exclusive_lock(lock: Path, what: str) -> Iterator[None]:
    """Hold a lock on the file `lock` during the block.

    Raises:
        HarnessError: another run of `what` holds it.
    """
    lock.parent.mkdir(exist_ok=True)
    with lock.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            msg = f"another run of {what} is in progress: wait until it has finished"
            raise HarnessError(msg) from None
        yield
