"""The `pulumi` that this program runs under, of which the engine tells the program nothing.

`pulumi up` runs the program twice, for its preview and for the update, each time under a language
host of its own: only the CLI is the same process.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_LANGUAGE_HOST: Final = "pulumi-language-"
_MAX_ANCESTORS: Final = 10
_START_TIME: Final = 22
"""The field of `/proc/PID/stat` that has the time when the process started, proc(5)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CliProcess:
    """A running `pulumi`."""

    pid: int
    id: str
    """Distinct from that of any other process, also of one that gets its number later."""
    argv: tuple[str, ...]
    folder: Path
    """Its working directory."""


def find() -> CliProcess | None:
    """Look among the ancestors of this process; None where there is no `/proc`."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        pid = os.getppid()
        for _ in range(_MAX_ANCESTORS):
            process = Path("/proc", str(pid))
            argv = process.joinpath("cmdline").read_text(errors="surrogateescape").split("\0")
            # What follows the name, which may have blanks and parentheses: from field 3 on.
            fields = process.joinpath("stat").read_text().rpartition(")")[2].split()
            program = Path(argv[0]).name
            if "pulumi" in program and _LANGUAGE_HOST not in program:
                name = f"{boot} {pid} {fields[_START_TIME - 3]}"
                folder = process.joinpath("cwd").readlink()
                return CliProcess(pid=pid, id=name, argv=tuple(argv), folder=folder)
            pid = int(fields[4 - 3])
    except (OSError, ValueError, IndexError):
        pass
    return None
