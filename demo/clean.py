"""Removes what the demo made, and nothing else."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from demo.story import OWNER, PREFIX
from harness import hosts
from harness.docker import Docker
from harness.incus import ROOT, HarnessError, Incus
from harness.workspace import Workspace

TIMEOUT = 300.0
_BOOTSTRAP = (sys.executable, str(ROOT / "tools" / "bootstrap"))


def clean(folder: Path, files: tuple[Path, ...]) -> Iterator[str]:
    """Remove the hosts, then `folder` and `files`, then Incus's part; says what it does.

    The toolchain stays: it is for all clones on this machine.

    Raises:
        HarnessError: a host cannot be removed; the folder with its keys stays then.
    """
    if folder.exists():
        _wake()
    try:
        incus = Incus.ready(with_image=False)
    except HarnessError as error:
        yield f"no hosts to remove: {error}"
    else:
        yield from _destroy(folder)
        for name in (*hosts.remove(PREFIX, incus=incus, owner=OWNER), *_of_docker()):
            yield f"{name} removed"
        yield from _clean_incus(incus)
    if folder.exists():
        shutil.rmtree(folder)
        yield f"{folder} removed"
    for file in files:
        file.unlink(missing_ok=True)


def _destroy(folder: Path) -> Iterator[str]:
    """The way of a user, where there is a stack; what it cannot do, the rest does by hand."""
    workspace = Workspace(folder=folder)
    if not workspace.config.is_file():
        return
    result = workspace.pulumi("destroy", "--yes", "--skip-preview")
    yield (
        "the stack is destroyed"
        if result.code == 0
        else f"pulumi destroy failed: {result.text[-500:]}"
    )


def _of_docker() -> list[str]:
    try:
        return Docker.ready().remove(OWNER)
    except HarnessError:
        return []


def _wake() -> None:
    """Start Incus if it is down (a restart of the machine ends one that was started by hand)."""
    argv = (*_BOOTSTRAP, "--only", "incus")
    subprocess.run(argv, capture_output=True, timeout=TIMEOUT, check=False)


def _clean_incus(incus: Incus) -> Iterator[str]:
    """Remove project, network, pool and image where they are ours, and no one else uses them."""
    others = [row["name"] for row in json.loads(incus.call("list", "--format", "json"))]
    if others:
        yield f"the Incus project {incus.project} stays, it is in use: {', '.join(sorted(others))}"
        return
    done = subprocess.run(
        (*_BOOTSTRAP, "--remove-incus"),
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    yield from done.stdout.splitlines()
    if done.returncode:
        msg = f"tools/bootstrap --remove-incus failed: {done.stderr.strip()[-500:]}"
        raise HarnessError(msg)
