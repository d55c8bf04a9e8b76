"""Daemons that tools/bootstrap starts itself where there is no systemd."""

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from toolchain.paths import LOGS, TOOLCHAIN, write
from toolchain.work import Missing, Work

_TIMEOUT: Final = 60.0
"""Seconds for a daemon to answer, or to exit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Daemon:
    """A daemon that we may have started, identified by its process id and start time."""

    name: str
    answers: Callable[[], bool]
    socket: Path
    """Its socket."""

    @property
    def log(self) -> Path:
        return LOGS / f"{self.name}.log"

    @property
    def _record(self) -> Path:
        return TOOLCHAIN / f"{self.name}.json"

    def start(self, work: Work, *argv: str) -> None:
        """Start it in a session of its own, without waiting for it."""
        LOGS.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                argv,
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        record = {"pid": process.pid, "born": _start_time(process.pid)}
        write(self._record, json.dumps(record))
        work.note(f"{self.name} started, process {process.pid}")

    def wait(self, work: Work, *, ours: bool) -> None:
        """Wait until it answers.

        Raises:
            Missing: it does not answer, or the one that we started has exited.
        """
        end = time.monotonic() + _TIMEOUT
        while not self.answers():
            if time.monotonic() > end or (ours and self.pid() is None):
                reason = f"{self.name} does not answer at {self.socket}"
                raise Missing(reason, remedy=f"see {self.log}")
            work.note(f"waiting for {self.name}")
            time.sleep(0.2)

    def pid(self) -> int | None:
        """The process id of the one that we started, if it is still running."""
        if not self._record.is_file():
            return None
        record = json.loads(self._record.read_text())
        alive = _start_time(record["pid"]) == record["born"] != ""
        return int(record["pid"]) if alive else None

    def stop(self) -> str:
        """Stop the one that we started, and no other; returns a line to print."""
        pid = self.pid()
        if pid is None:
            return f"no {self.name} of tools/bootstrap is running"
        os.kill(pid, signal.SIGTERM)
        end = time.monotonic() + _TIMEOUT
        while self.pid() is not None:
            if time.monotonic() > end:
                return f"{self.name} (process {pid}) is still running after {_TIMEOUT:.0f} s"
            time.sleep(0.1)
        self._record.unlink(missing_ok=True)
        return f"{self.name} (process {pid}) stopped"


def _start_time(pid: int) -> str:
    """The start time of a process, as its id is used again later; empty if it has exited.

    A zombie has exited, too.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    state, *fields = re.sub(r"^.*\) ", "", stat, flags=re.DOTALL).split()
    return "" if state in "ZX" else fields[18]
