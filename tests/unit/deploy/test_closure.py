"""What a failed copy says; nix is a script."""

from pathlib import Path, PurePosixPath

import pytest

from components.pipeline.deploy import closure
from components.pipeline.errors import CopyError
from components.pipeline.evaluate.attribute import EvaluatedAttr
from components.pipeline.transport.ssh import Ssh
from components.pipeline.transport.ssh_files import SshFiles
from components.pipeline.values import StorePath
from tests.unit.hosts import host, toplevel

OUT = toplevel("a")
SYSTEM = EvaluatedAttr(attr="web1", drv_path=StorePath.parse(f"{OUT.path}.drv"), out_path=OUT)


@pytest.mark.parametrize(
    ("printed", "remedy"),
    [
        (
            "error: writing to file: No space left on device",
            "make room on the host (`nix-collect-garbage -d`), then run `pulumi up` again",
        ),
        (
            "error: protocol mismatch, got 'Welcome",
            "its login shell must print nothing when it runs a command; then run `pulumi up` again",
        ),
        ("error: whatever", "`pulumi up` again sends only what is missing"),
    ],
)
async def test_the_remedy_of_a_failed_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, printed: str, remedy: str
) -> None:
    (tmp_path / "nix").write_text(f'#!/bin/sh\necho "{printed}" >&2\nexit 1\n')
    (tmp_path / "nix").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    files = SshFiles(known_hosts=PurePosixPath(tmp_path / "known_hosts"), key=None)
    with pytest.raises(CopyError) as caught:
        await closure.copy(SYSTEM, Ssh.of(host(), files))
    assert str(caught.value) == f"the copy failed: web1: {printed}. {remedy}"


async def test_caches_that_a_daemon_does_not_take(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes those of users that it trusts; nix says so, and succeeds."""
    url = "https://cache.example.org"
    printed = f"warning: ignoring untrusted substituter '{url}', you are not a trusted user."
    (tmp_path / "nix").write_text(f'#!/bin/sh\necho "{printed}" >&2\n')
    (tmp_path / "nix").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert await closure.realise((SYSTEM,)) == (url,)
