"""Looks at every process of the machine for as long as it is asked to."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class ProcessScanner:
    """Remembers in which processes' arguments and environments a text was seen."""

    def __init__(self, needle: str) -> None:
        self._needle = needle.encode()
        self._ended = threading.Event()
        self.argv: set[str] = set()
        self.environment: set[str] = set()
        self.looks = 0

    @contextmanager
    def watching(self) -> Iterator["ProcessScanner"]:
        thread = threading.Thread(target=self._watch)
        thread.start()
        try:
            yield self
        finally:
            self._ended.set()
            thread.join()

    def _watch(self) -> None:
        while not self._ended.is_set():
            for process in Path("/proc").glob("[0-9]*"):
                self._look(process)
            self.looks += 1
            time.sleep(0.02)

    def _look(self, process: Path) -> None:
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
