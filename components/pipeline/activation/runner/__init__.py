"""The runner: the only script of flakeup that runs on a host, assembled from its parts."""

import functools
from pathlib import Path
from typing import Final

PARTS: Final = (
    "head",
    "lib",
    "state",
    "units",
    "observe",
    "start",
    "run",
    "failed",
    "check",
    "probes",
    "follow",
    "commit",
    "rollback",
    "abort",
    "main",
)
"""In the order of the script; `main` is last, so that a truncated script runs nothing."""


@functools.cache
def text() -> bytes:
    """The whole script, as sent to a host."""
    folder = Path(__file__).parent
    return b"".join((b"#!/bin/sh\n", *((folder / f"{part}.sh").read_bytes() for part in PARTS)))
