"""Processes of the deployer on this machine, found by their command lines."""

import time
from pathlib import Path

from tests.e2e.processes import descendants


def matching(root: int, *words: str) -> list[int]:
    """The descendants of `root` whose command lines contain all the words."""
    return [pid for pid in descendants(root) if pid != root and _has(pid, words)]


def _has(pid: int, words: tuple[str, ...]) -> bool:
    try:
        argv = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    text = b" ".join(argv).decode(errors="replace")
    return all(word in text for word in words)


def wait_for(root: int, *words: str, seconds: float = 40) -> list[int]:
    """Wait until there is such a process, and return all of them."""
    end = time.monotonic() + seconds
    while not (found := matching(root, *words)):
        assert time.monotonic() < end, f"no process with {words} in {seconds:g} s"
        time.sleep(0.02)
    return found
