"""The peak memory of the program's Python process, from the kernel."""

import contextlib
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

PAUSE: Final = 0.2
"""Seconds between two samples; as the kernel keeps the peak, only the last moments are missed."""
_EXECUTOR: Final = "pulumi-language-python-exec"
"""What the language host runs for a program."""


@dataclass(slots=True)
class Peak:
    """The largest resident set size in MB (10⁶ bytes); 0 if no such process was seen."""

    megabytes: float = 0.0


@contextlib.contextmanager
def watch() -> Iterator[Peak]:
    """Watch the programs that this process's descendants run during the block."""
    peak, done = Peak(), threading.Event()
    watcher = threading.Thread(target=_watch, args=(peak, done))
    watcher.start()
    try:
        yield peak
    finally:
        done.set()
        watcher.join()


def _watch(peak: Peak, done: threading.Event) -> None:
    while not done.wait(PAUSE):
        for pid in _descendants(os.getpid()):
            with contextlib.suppress(OSError):
                if _EXECUTOR in Path(f"/proc/{pid}/cmdline").read_text(errors="replace"):
                    peak.megabytes = max(peak.megabytes, _high_water(pid))


def _descendants(pid: int) -> Iterator[int]:
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in map(int, (task / "children").read_text().split()):
                yield child
                yield from _descendants(child)


def _high_water(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text(errors="replace").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024 / 1e6
    return 0.0
