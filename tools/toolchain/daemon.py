"""A daemon that is started by hand, where there is no systemd: log, record, end by its own id."""

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

_PATIENCE: Final = 60.0
"""Seconds for a daemon to answer, or to end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Daemon:
    """One that we may have started; it is known by its process id and the time of its birth."""

    name: str
    answers: Callable[[], bool]
    socket: Path
    """The socket at which it answers."""

    @property
    def log(self) -> Path:
        return LOGS / f"{self.name}.log"

    @property
    def _record(self) -> Path:
        return TOOLCHAIN / f"{self.name}.json"

    def start(self, work: Work, *argv: str) -> None:
        """Start it, apart from us; it is not waited for."""
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
        record = {"pid": process.pid, "born": _born(process.pid)}
        write(self._record, json.dumps(record))
        work.note(f"{self.name} started, process {process.pid}")

    def wait(self, work: Work, *, ours: bool) -> None:
        """Wait until it answers.

        Raises:
            Missing: it does not, or the one that we started has ended.
        """
        end = time.monotonic() + _PATIENCE
        while not self.answers():
            if time.monotonic() > end or (ours and self.started() is None):
                reason = f"{self.name} does not answer at {self.socket}"
                raise Missing(reason, remedy=f"see {self.log}")
            work.note(f"waiting for {self.name}")
            time.sleep(0.2)

    def started(self) -> int | None:
        """The process id of the one that we started, if it still runs."""
        if not self._record.is_file():
            return None
        record = json.loads(self._record.read_text())
        alive = _born(record["pid"]) == record["born"] != ""
        return int(record["pid"]) if alive else None

    def stop(self) -> str:
        """End the one that we started, and no other; what was done, for a reader."""
        pid = self.started()
        if pid is None:
            return f"no {self.name} of ours is running"
        os.kill(pid, signal.SIGTERM)
        end = time.monotonic() + _PATIENCE
        while self.started() is not None:
            if time.monotonic() > end:
                return f"{self.name} (process {pid}) has not ended after {_PATIENCE:.0f} s"
            time.sleep(0.1)
        self._record.unlink(missing_ok=True)
        return f"{self.name} (process {pid}) stopped"


def _born(pid: int) -> str:
    """When a process was started, as the same number is given to others later; "" if it ended.

    One that has ended and that nobody has asked for (a zombie) has ended.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    state, *fields = re.sub(r"^.*\) ", "", stat, flags=re.DOTALL).split()
    return "" if state in "ZX" else fields[18]
