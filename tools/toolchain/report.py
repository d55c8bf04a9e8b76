"""The progress report: a line per event, and signs of life in between."""

import sys
import threading
import time
from collections.abc import Callable
from typing import Final

QUIET: Final = 15.0
"""Seconds between signs of life in a log; a terminal gets one every second."""


class Report:
    """Prints lines to stdout and, on a terminal, a last line that counts the seconds."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._start = time.monotonic()
        self._tty = sys.stdout.isatty()
        self._done = threading.Event()

    def say(self, part: str, text: str) -> None:
        with self._lock:
            self._erase()
            print(f"{part:<8} {text}", flush=True)

    def _erase(self) -> None:
        if self._tty:
            print("\r\033[K", end="")

    def watch(self, progress: Callable[[], dict[str, str]]) -> threading.Thread:
        """Show what is in progress until `finish` is called."""
        thread = threading.Thread(target=self._tick, args=(progress,), daemon=True)
        thread.start()
        return thread

    def _tick(self, progress: Callable[[], dict[str, str]]) -> None:
        while not self._done.wait(1.0 if self._tty else QUIET):
            in_progress = progress()
            if not in_progress:
                continue
            seconds = f"{time.monotonic() - self._start:.0f} s"
            with self._lock:
                if self._tty:
                    line = "; ".join(f"{part}: {step}" for part, step in in_progress.items())
                    self._erase()
                    print(f"  {seconds}  {line}"[:100], end="", flush=True)
                else:
                    for part, step in in_progress.items():
                        print(f"{part:<8} … {seconds}  {step}", flush=True)

    def finish(self) -> None:
        self._done.set()
        with self._lock:
            self._erase()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._start
