"""Running the steps of one part: its log, its unfinished folder, its last word."""

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
"""Lines of a failed step that are shown."""
INTERRUPTED: Final = "interrupted"
AGAIN: Final = "run tools/bootstrap again: what is finished is kept"


class Missing(Exception):  # noqa: N818 - it is an answer ("cannot be had here"), not a fault
    """A part cannot be had on this machine; the remedy is what its owner can do about it."""

    def __init__(self, reason: str, *, remedy: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.remedy = remedy


class Running:
    """The processes under way, so that an interrupt can end exactly those."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._processes: set[subprocess.Popen[bytes]] = set()
        self.stopped = False

    def wait(self, process: subprocess.Popen[bytes], *, bound: bool) -> int:
        """Its exit status; where it is bound to us, an interrupt ends it."""
        with self._lock:
            if bound:
                self._processes.add(process)
            if bound and self.stopped:
                process.kill()
        code = process.wait()
        with self._lock:
            self._processes.discard(process)
        return code

    def stop(self) -> None:
        """Kill, not terminate: `unshare` would wait for its child; nothing half-done is used."""
        with self._lock:
            self.stopped = True
            for process in self._processes:
                process.kill()


class Work:
    """What a part's recipe works with."""

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
        bound: bool = True,
    ) -> str:
        """Run one command, everything it says going to the log; returns what it said.

        A command that is not bound to us is neither killed nor interrupted with us: for dpkg, which
        would leave the machine's packages half-configured.

        Raises:
            Missing: it ended with a failure (the message has its last lines), or was interrupted.
        """
        if self._running.stopped:
            raise Missing(INTERRUPTED, remedy=AGAIN)
        with self.log.open("ab") as log:
            log.write(f"$ {' '.join(argv)}\n".encode())
            log.flush()
            self._start = log.tell()
            self._step = step or f"{Path(argv[0]).name} {argv[1] if len(argv) > 1 else ''}".strip()
            process = subprocess.Popen(
                (*_die_with_us(), *argv) if bound else argv,
                env={**os.environ, **(env or {})},
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=not bound,
            )
        code = self._running.wait(process, bound=bound)
        said = self._said()
        if code:
            raise self._failed(argv, code, said)
        return said

    def note(self, text: str) -> None:
        """Say what is being done where no command is run."""
        self._step = text
        with self.log.open("a") as log:
            log.write(f"{text}\n")
        self._start = self.log.stat().st_size

    def progress(self) -> str:
        """The step under way and its last word, as part of a line for a reader."""
        lines = self._said().splitlines()
        return f"{self._step}: {len(lines)} lines, {_plain(lines[-1])}" if lines else self._step

    def _said(self) -> str:
        with self.log.open("rb") as log:
            log.seek(self._start)
            return log.read().decode(errors="replace")

    def _failed(self, argv: Sequence[str], code: int, said: str) -> Missing:
        if self._running.stopped:
            return Missing(INTERRUPTED, remedy=AGAIN)
        last = "".join(f"\n    {_plain(line, width=160)}" for line in said.splitlines()[-TAIL:])
        msg = f"`{Path(argv[0]).name}` ended with status {code}{last}"
        return Missing(msg, remedy=f"see {self.log}, then run tools/bootstrap again")

    @contextmanager
    def folder(self, final: Path) -> Iterator[Path]:
        """A folder to fill; it takes its final name when all went well, and goes away if not."""
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
    """A killed bootstrap must not leave a step behind that goes on writing."""
    setpriv = shutil.which("setpriv") if sys.platform == "linux" else None
    return (setpriv, "--pdeathsig", "KILL", "--") if setpriv else ()


def _plain(line: str, *, width: int = 70) -> str:
    text = "".join(c if c.isprintable() else " " for c in line).strip()
    return text if len(text) <= width else f"{text[: width - 1]}…"
