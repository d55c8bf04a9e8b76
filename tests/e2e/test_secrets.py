"""The ssh key: it goes to the provider and to ssh, and appears nowhere else."""

import subprocess
from pathlib import Path

import pytest

from tests.e2e.process_scanner import ProcessScanner
from tests.e2e.stack import STACK, Workspace, wait_for

pytestmark = pytest.mark.e2e


@pytest.fixture
def needle(keys: Path) -> str:
    """A line from the middle of the private key."""
    return (keys / "client").read_text().splitlines()[3]


def test_the_key_appears_nowhere(workspace: Workspace, needle: str) -> None:
    workspace.write(appRef="v2")
    scanner = ProcessScanner(needle)
    with scanner.scanning():
        result = workspace.up()
    assert result.code == 0, result.text
    assert scanner.scans > 20
    assert scanner.argv == set()
    # Pulumi hands the program its config in the environment; no process of ours gets it.
    assert scanner.environment <= {"python", "python3"}
    shown = [
        result.text,
        workspace.preview("--diff").text,
        workspace.pulumi("stack", "export").text,
        workspace.pulumi("config").text,
    ]
    assert [text for text in shown if needle in text] == []
    assert needle in workspace.pulumi("stack", "export", "--show-secrets").text.replace("\\n", "\n")


def test_the_scanner_would_have_found_it(needle: str) -> None:
    scanner = ProcessScanner(needle)
    argv = ("sh", "-c", "read line", needle)
    environment = {"KEY": needle, "PATH": "/bin:/usr/bin"}
    with (
        scanner.scanning(),
        subprocess.Popen(argv, env=environment, stdin=subprocess.PIPE) as process,
    ):
        wait_for(lambda: "sh" in scanner.argv & scanner.environment)
        process.communicate(b"\n")


def test_the_files_for_ssh_are_private(workspace: Workspace, keys: Path) -> None:
    folder = workspace.folder / ".flakeup" / STACK / "ssh"
    assert oct(folder.stat().st_mode & 0o777) == "0o700"
    assert oct((folder / "key").stat().st_mode & 0o777) == "0o600"
    assert (folder / "key").read_text() == (keys / "client").read_text()
