"""The runner: the one script of flakeup that runs on a host, put together from its parts."""

import functools
from pathlib import Path
from typing import Final

PARTS: Final = (
    "head",
    "words",
    "record",
    "units",
    "observe",
    "start",
    "run",
    "check",
    "follow",
    "commit",
    "back",
    "abort",
    "main",
)
"""In the order in which a host meets them; `main` is last: a part of the script runs nothing."""


@functools.cache
def text() -> bytes:
    """The whole script, as it is sent."""
    folder = Path(__file__).parent
    return b"".join((b"#!/bin/sh\n", *((folder / f"{part}.sh").read_bytes() for part in PARTS)))
