"""Runs the steps of a part, with its log and its unfinished folder."""

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from toolchain.paths import LOGS, UNFINISHED

TAIL: Final = 12
"""Lines of output that are shown of a failed step."""
INTERRUPTED: Final = "interrupted"
AGAIN: Final = "run tools/bootstrap again; finished parts are kept"


class Missing(Exception):  # noqa: N818 - an expected result, not an error
    """A part is not available on this machine; the remedy is what the user can do."""

    def __init__(self, reason: str, *, remedy: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.remedy = remedy


class Running:
    """The running processes, so that an interrupt can end exactly those."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._processes: set[subprocess.Popen[bytes]] = set()
        self.stopped = False

    def wait(self, process: subprocess.Popen[bytes], *, interruptible: bool) -> int:
        """Wait for its exit status; an interrupt kills it if it is interruptible."""
        with self._lock:
            if interruptible:
                self._processes.add(process)
            if interruptible and self.stopped:
                process.kill()
        code = process.wait()
        with self._lock:
            self._processes.discard(process)
        return code

    def stop(self) -> None:
        """Kill the processes: `unshare` would survive SIGTERM, and unfinished work is not used."""
        with self._lock:
            self.stopped = True
            for process in self._processes:
                process.kill()


class Work:
    """What `Part.make` works with."""

    def __init__(self, name: str, running: Running) -> None:
        self.name = name
        self._running = running
        self._step = "starting"
        self._start = 0
        LOGS.mkdir(parents=True, exist_ok=True)
        self.log = LOGS / f"{name}.log"
        self.log.write_text("")

    def run(
        self,
        *argv: str,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        step: str = "",
        interruptible: bool = True,
    ) -> str:
        """Run a command, with its output in the log; returns the output.

        A command that is not interruptible survives an interrupt: dpkg would leave packages
        half-configured otherwise.

        Raises:
            Missing: it failed (the message has its last lines), or was interrupted.
        """
        if self._running.stopped:
            raise Missing(INTERRUPTED, remedy=AGAIN)
        with self.log.open("ab") as log:
            log.write(f"$ {' '.join(argv)}\n".encode())
            log.flush()
            self._start = log.tell()
            self._step = step or f"{Path(argv[0]).name} {argv[1] if len(argv) > 1 else ''}".strip()
            process = subprocess.Popen(
                (*_die_with_us(), *argv) if interruptible else argv,
                env={**os.environ, **(env or {})},
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=not interruptible,
            )
        code = self._running.wait(process, interruptible=interruptible)
        output = self._output()
        if code:
            raise self._failed(argv, code, output)
        return output

    def note(self, text: str) -> None:
        """Log what is being done without a command."""
        self._step = text
        with self.log.open("a") as log:
            log.write(f"{text}\n")
        self._start = self.log.stat().st_size

    def progress(self) -> str:
        """The current step and its last line of output, as part of a line to print."""
        lines = self._output().splitlines()
        return f"{self._step}: {len(lines)} lines, {_plain(lines[-1])}" if lines else self._step

    def _output(self) -> str:
        with self.log.open("rb") as log:
            log.seek(self._start)
            return log.read().decode(errors="replace")

    def _failed(self, argv: Sequence[str], code: int, output: str) -> Missing:
        if self._running.stopped:
            return Missing(INTERRUPTED, remedy=AGAIN)
        last = "".join(f"\n    {_plain(line, width=160)}" for line in output.splitlines()[-TAIL:])
        msg = f"`{Path(argv[0]).name}` exited with status {code}{last}"
        return Missing(msg, remedy=f"see {self.log}, then run tools/bootstrap again")

    @contextmanager
    def folder(self, final: Path) -> Iterator[Path]:
        """A folder to fill, which gets its final name on success, and is removed otherwise."""
        unfinished = UNFINISHED / f"{final.name}.{os.getpid()}"
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        try:
            yield unfinished
            final.parent.mkdir(parents=True, exist_ok=True)
            if final.exists():
                shutil.rmtree(final)
            unfinished.rename(final)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)


def _die_with_us() -> tuple[str, ...]:
    """Let a step die with a killed bootstrap, instead of writing on."""
    setpriv = shutil.which("setpriv") if sys.platform == "linux" else None
    return (setpriv, "--pdeathsig", "KILL", "--") if setpriv else ()


def _plain(line: str, *, width: int = 70) -> str:
    text = "".join(c if c.isprintable() else " " for c in line).strip()
    return text if len(text) <= width else f"{text[: width - 1]}…"
