"""Processes of this machine, as /proc has them: found by their kin, and ended one by one."""

import os
import signal
from collections.abc import Iterable, Iterator
from pathlib import Path


def descendants(root: int) -> tuple[int, ...]:
    """A process and all that it and its children have started, as /proc has them now."""
    parents = {pid: parent for pid, _, parent, _ in _table()}
    found = [root]
    for pid in found:
        found += [child for child, parent in parents.items() if parent == pid]
    return tuple(found)


def in_session(leader: int) -> tuple[int, ...]:
    """The processes of a session that still run, whoever their parents are now."""
    return tuple(
        pid for pid, state, _, session in _table() if session == leader and state not in "ZX"
    )


def kill(pids: Iterable[int]) -> int:
    """KILL them; gives how many were still there."""
    killed = 0
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
        killed += 1
    return killed


def _table() -> Iterator[tuple[int, str, int, int]]:
    """Process, state, parent and session of each (proc(5), stat)."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent, _, session = stat.read_text().rpartition(")")[2].split()[:4]
        except OSError:
            continue
        yield int(stat.parent.name), state, int(parent), int(session)
