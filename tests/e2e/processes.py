"""Processes of this machine, found in /proc by their parents or sessions."""

import os
import signal
from collections.abc import Iterable, Iterator
from pathlib import Path


def descendants(root: int) -> tuple[int, ...]:
    """A process and its current descendants."""
    parents = {pid: parent for pid, _, parent, _ in _table()}
    found = [root]
    for pid in found:
        found += [child for child, parent in parents.items() if parent == pid]
    return tuple(found)


def in_session(leader: int) -> tuple[int, ...]:
    """The running processes of a session, whatever their parents are now."""
    return tuple(
        pid for pid, state, _, session in _table() if session == leader and state not in "ZX"
    )


def kill(pids: Iterable[int]) -> int:
    """Kill processes; returns how many were still running."""
    killed = 0
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
        killed += 1
    return killed


def _table() -> Iterator[tuple[int, str, int, int]]:
    """PID, state, parent and session of each process (proc_pid_stat(5))."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent, _, session = stat.read_text().rpartition(")")[2].split()[:4]
        except OSError:
            continue
        yield int(stat.parent.name), state, int(parent), int(session)
