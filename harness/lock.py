"""One run at a time of what shares hosts and folders."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.incus import HarnessError


@contextmanager
def exclusive_lock(lock: Path, what: str) -> Iterator[None]:
    """Hold the file `lock` inside the block.

    Raises:
        HarnessError: another run of `what` holds it.
    """
    lock.parent.mkdir(exist_ok=True)
    with lock.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            msg = f"another run of {what} is at work: let it end first"
            raise HarnessError(msg) from None
        yield
