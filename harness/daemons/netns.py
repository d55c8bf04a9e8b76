"""Runs code of one thread in another network namespace."""

from __future__ import annotations

import ctypes
import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_LIBC: Final = ctypes.CDLL(None, use_errno=True)
_NEWNET: Final = 0x40000000  # CLONE_NEWNET


@contextmanager
def within(network: str) -> Iterator[None]:
    """Sockets that are created in the block are in the namespace of a file such as /proc/1/ns/net.

    Without a file, they are in this process's own.
    """
    if not network:
        yield
        return
    with Path("/proc/thread-self/ns/net").open() as own, Path(network).open() as other:
        _enter(other.fileno())
        try:
            yield
        finally:
            _enter(own.fileno())


def _enter(namespace: int) -> None:
    """Move this thread, and no other, into a namespace."""
    if _LIBC.setns(namespace, _NEWNET):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
