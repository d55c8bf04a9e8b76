"""The ssh key: it goes to the provider and to ssh, and appears nowhere else."""

import signal
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


@pytest.fixture
def ssh_folder(workspace: Workspace) -> Path:
    return workspace.folder / ".flakeup" / STACK / "ssh"


def test_the_files_for_ssh_are_private(workspace: Workspace, ssh_folder: Path, keys: Path) -> None:
    """And the key leaves when the run ends."""
    key, seen = ssh_folder / "key", set()
    workspace.write(appRef="v2")
    with workspace.running("up", "--yes", "--skip-preview") as engine:
        engine.read_until("copied|updating")
        seen = {oct(ssh_folder.stat().st_mode & 0o777), oct(key.stat().st_mode & 0o777)}
        text = key.read_text()
        result = engine.wait()
    assert result.code == 0, result.text
    assert seen == {"0o700", "0o600"}
    assert text == (keys / "client").read_text()
    wait_for(lambda: not key.exists())


@pytest.mark.parametrize("end", ["a refusal", "a failed host", "an interruption"])
def test_the_key_leaves_however_a_run_ends(
    workspace: Workspace, ssh_folder: Path, end: str
) -> None:
    key = ssh_folder / "key"
    if end == "an interruption":
        workspace.fleet(web1={"activationSeconds": 5})
        workspace.write(appRef="v2")
        with workspace.running("up", "--yes", "--skip-preview") as engine:
            wait_for(key.exists)
            engine.read_until("updating|copied")
            engine.process.send_signal(signal.SIGINT)
            result = engine.wait()
    else:
        ref = "nowhere" if end == "a refusal" else "v2"
        workspace.fleet(web2={"faults": {"activate-fails": "1"}} if ref == "v2" else {})
        workspace.write(appRef=ref)
        result = workspace.up()
    assert result.code != 0, result.text
    wait_for(lambda: not key.exists())


def test_the_key_stays_for_another_run(workspace: Workspace, ssh_folder: Path) -> None:
    """A preview that ends during an `up` does not take its key away."""
    workspace.fleet(web1={"activationSeconds": 10})
    workspace.write(appRef="v2")
    key = ssh_folder / "key"
    with workspace.running("up", "--yes", "--skip-preview") as engine:
        wait_for(key.exists)
        assert workspace.preview().code == 0
        assert engine.process.poll() is None, "the `up` still runs"
        assert key.exists()
        result = engine.wait()
    assert result.code == 0, result.text
    wait_for(lambda: not key.exists())


def test_a_key_that_a_power_cut_has_left_goes(workspace: Workspace, ssh_folder: Path) -> None:
    key = ssh_folder / "key"
    wait_for(lambda: not key.exists())
    with workspace.running("preview") as engine:
        wait_for(key.exists)
        engine.kill()
    assert key.exists(), "whatever would remove it was killed too"
    assert workspace.preview().code == 0
    wait_for(lambda: not key.exists())
