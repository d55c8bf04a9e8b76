"""Searches the processes of this machine for a secret."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class ProcessScanner:
    """Records the names of processes with a text in their arguments or environment."""

    def __init__(self, needle: str) -> None:
        self._needle = needle.encode()
        self._stop = threading.Event()
        self.argv: set[str] = set()
        self.environment: set[str] = set()
        self.scans = 0

    @contextmanager
    def scanning(self) -> Iterator["ProcessScanner"]:
        thread = threading.Thread(target=self._run)
        thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            thread.join()

    def _run(self) -> None:
        while not self._stop.is_set():
            for process in Path("/proc").glob("[0-9]*"):
                self._scan(process)
            self.scans += 1
            time.sleep(0.02)

    def _scan(self, process: Path) -> None:
        try:
            argv = (process / "cmdline").read_bytes()
            environment = (process / "environ").read_bytes()
            name = (process / "comm").read_text().strip()
        except OSError:
            return
        if self._needle in argv:
            self.argv.add(name)
        if self._needle in environment:
            self.environment.add(name)
