"""Which `pulumi` the program runs under, by its ancestors."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from components.stack import cli
from harness.incus import ROOT

FIND = f"""
import json, sys
sys.path.insert(0, {str(ROOT)!r})
from components.stack import cli
found = cli.find()
print(json.dumps(found and [found.pid, found.id, found.argv[1:], str(found.folder)]))
"""


def found_under(*programs: Path) -> list[object] | None:
    """What a Python finds whose ancestors are these shells, the farthest one first."""
    argv: list[str] = [sys.executable, "-c", FIND]
    for program in reversed(programs):
        argv = [str(program), "-c", '"$@"; exit', "--", *argv]
    done = subprocess.run(argv, capture_output=True, text=True, check=True, cwd=programs[0].parent)
    found: list[object] | None = json.loads(done.stdout)
    return found


@pytest.fixture
def shell(tmp_path: Path) -> Path:
    """A folder with copies of a shell, under names of Pulumi's programs."""
    for name in ("pulumi", "pulumi-language-python", "other"):
        shutil.copy(os.path.realpath("/bin/sh"), tmp_path / name)
    return tmp_path


def test_the_cli_is_found_behind_the_language_host(shell: Path) -> None:
    names = ("pulumi", "other", "pulumi-language-python", "other")
    found = found_under(*(shell / name for name in names))
    assert found is not None
    pid, name, argv, folder = found
    assert (str(pid) in str(name).split(), folder) == (True, str(shell))
    assert isinstance(argv, list)
    assert argv[:3] == ["-c", '"$@"; exit', "--"]


def test_two_processes_differ(shell: Path) -> None:
    one, other = (found_under(shell / "pulumi") for _ in range(2))
    assert one is not None
    assert other is not None
    assert one[1] != other[1]


def test_without_a_cli_there_is_none() -> None:
    assert cli.find() is None
