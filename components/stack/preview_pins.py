"""What the preview of a `pulumi up` has resolved, which its update then deploys."""

import json
from pathlib import Path
from typing import Any, Final

import pulumi

from ..pipeline.process import files
from ..pipeline.release.pins import Pins
from . import cli

_PREFIX: Final = "preview-"


def load(folder: Path) -> Pins:
    """Give an update what its preview has resolved; to all other runs, nothing.

    `folder` is the stack's own. A preview of another `pulumi` does not count: between the
    two, people expect that a branch is looked up.
    """
    process = cli.find()
    if process and not pulumi.runtime.is_dry_run():
        try:
            record: Any = json.loads(_file(folder, process.pid).read_text())
            if record["cli"] == process.id:
                return Pins.parse(record)
        except (OSError, LookupError, TypeError, ValueError, AttributeError):
            pass  # it is only a record: without it, everything is resolved
    return Pins()


def save(pins: Pins, folder: Path) -> None:
    """In a preview, keep what it has resolved for the update that may follow."""
    process = cli.find()
    if not process or not pulumi.runtime.is_dry_run():
        return
    for old in folder.glob(f"{_PREFIX}*.json"):
        if not Path("/proc", old.stem.removeprefix(_PREFIX)).exists():
            old.unlink(missing_ok=True)
    record = {"cli": process.id, **pins.record()}
    files.replace(_file(folder, process.pid), json.dumps(record), mode=0o600)


def _file(folder: Path, pid: int) -> Path:
    """Give the file of one `pulumi`: two may preview the stack in one folder."""
    return folder / f"{_PREFIX}{pid}.json"
