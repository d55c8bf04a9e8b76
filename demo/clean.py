"""Removes everything that the demo created, and nothing else."""

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
    """Remove the hosts, then what Incus has for them, `folder` and `files`; yields what it does.

    The toolchain is kept, as all clones on this machine share it.

    Raises:
        HarnessError: a host cannot be removed; then the folder with its keys is kept.
    """
    if folder.exists():
        _start_incus()
    try:
        incus = Incus.ready(with_image=False)
    except HarnessError as error:
        yield f"no hosts to remove: {error}"
    else:
        yield from _destroy(folder)
        for name in (*hosts.remove(PREFIX, incus=incus, owner=OWNER), *_remove_from_docker()):
            yield f"{name} removed"
        yield from _clean_incus(incus)
    if folder.exists():
        shutil.rmtree(folder)
        yield f"{folder} removed"
    for file in files:
        file.unlink(missing_ok=True)


def _destroy(folder: Path) -> Iterator[str]:
    """Destroy the stack as a user would; the caller removes what is left."""
    workspace = Workspace(folder=folder)
    if not workspace.config.is_file():
        return
    result = workspace.pulumi("destroy", "--yes", "--skip-preview")
    failure = f"pulumi destroy failed: {result.text[-500:]}"
    yield failure if result.code else "stack destroyed"


def _remove_from_docker() -> list[str]:
    try:
        return Docker.ready().remove(OWNER)
    except HarnessError:
        return []


def _start_incus() -> None:
    """Start Incus if it is down: where there is no systemd, a reboot does not start it again."""
    argv = (*_BOOTSTRAP, "--only", "incus")
    subprocess.run(argv, capture_output=True, timeout=TIMEOUT, check=False)


def _clean_incus(incus: Incus) -> Iterator[str]:
    """Remove project, network, pool and image if they are ours and unused."""
    others = [row["name"] for row in json.loads(incus.call("list", "--format", "json"))]
    if others:
        yield f"Incus project {incus.project} kept, as it is in use: {', '.join(sorted(others))}"
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
