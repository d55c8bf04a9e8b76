"""What is said where a program is missing: its name, and no advice about URLs or networks."""

import os
import shutil
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path, PurePosixPath

import pytest

from components.pipeline.config.docker import Machine
from components.pipeline.config.incus import IncusSpec, TransportKind
from components.pipeline.deploy import closure
from components.pipeline.errors import FlakeupError, ProcessError
from components.pipeline.evaluate.attribute import EvaluatedAttr
from components.pipeline.process.run import Argv, process_error, run
from components.pipeline.release import git, nix
from components.pipeline.targets.docker.remote import SshEndpoint
from components.pipeline.transport.incus_exec import IncusExec
from components.pipeline.transport.ssh import Ssh
from components.pipeline.transport.ssh_files import SshFiles
from components.pipeline.values import Ref, StorePath
from tests.unit.hosts import HOST_KEY, host, toplevel

FILES = SshFiles(known_hosts=PurePosixPath("/nonexistent/known_hosts"), key=None)
SSH = Ssh.of(host(), FILES)
SPEC = IncusSpec(name="web1", transport=TransportKind.EXEC)
EXEC = IncusExec(host=replace(host(), incus=SPEC), folder=PurePosixPath("ssh"))
MACHINE = Machine.parse("ssh://deploy@192.0.2.7")
DOCKER = SshEndpoint(machine=MACHINE, host_key=HOST_KEY, identity=FILES)
OUT = toplevel("a")
SYSTEM = EvaluatedAttr(attr="web1", drv_path=StorePath.parse(f"{OUT.path}.drv"), out_path=OUT)
REMOTE = "ssh://git@git.example.test/app.git"
NO_SSH = "ssh is not installed, or not on PATH. install OpenSSH's client"
NO_GIT = "git is not installed, or not on PATH. install git"
NO_NIX = "nix is not installed, or not on PATH. install nix 2.24 or later"


async def explained(argv: Argv, explain: Callable[[ProcessError], FlakeupError]) -> None:
    try:
        await run(argv, timeout=5)
    except ProcessError as error:
        raise explain(error) from error


async def _resolve() -> None:
    await git.resolve(REMOTE, Ref("v1"), key="appRef")


async def _metadata() -> None:
    await nix.metadata("git+https://x", where="flake", remedy="check flake and flakeRef")


@pytest.fixture(autouse=True)
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty PATH and cache."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    nix.cache_folder.cache_clear()
    monkeypatch.setattr(nix, "_version", [])
    for name in ("GIT_SSH", "GIT_SSH_COMMAND"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    return folder


async def said(act: Callable[[], Awaitable[object]]) -> str:
    with pytest.raises(FlakeupError) as caught:
        await act()
    return str(caught.value)


@pytest.mark.parametrize(
    ("act", "expected"),
    [
        (_resolve, f"cannot ask the git server: appRef on {REMOTE}: {NO_GIT}"),
        (nix.version, f"cannot run nix: PATH: {NO_NIX}"),
        (_metadata, f"cannot read the flake: flake: {NO_NIX}"),
        (
            lambda: closure.realise((SYSTEM,)),
            f"the build failed: web1: {NO_NIX.replace('PATH. ', 'PATH. no host was changed; ')}",
        ),
        (lambda: closure.copy(SYSTEM, SSH), f"the copy failed: web1: {NO_NIX}"),
        (
            lambda: explained(SSH.argv("true"), SSH.explain),
            f"cannot reach the host: web1 (root@192.0.2.10, port 22): {NO_SSH}",
        ),
        (
            lambda: explained(DOCKER.argv, DOCKER.explain),
            (
                "cannot reach the machine of Docker: docker.host (deploy@192.0.2.7, port 22):"
                f" {NO_SSH}"
            ),
        ),
        (
            lambda: explained(EXEC.argv("true"), EXEC.explain),
            (
                "cannot reach the host: web1 (local:web1, project default): incus is not installed,"
                " or not on PATH. install Incus's client"
            ),
        ),
    ],
    ids=["git", "nix", "flake", "build", "copy", "host", "docker", "incus"],
)
async def test_a_missing_program(
    monkeypatch: pytest.MonkeyPatch, act: Callable[[], Awaitable[object]], expected: str
) -> None:
    monkeypatch.setattr(closure, "_remove_markers", lambda _: None)
    assert await said(act) == expected


async def test_git_without_ssh(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Git is there, and cannot start what it connects with."""
    real = shutil.which("git", path="/usr/bin:/usr/local/bin:/run/current-system/sw/bin")
    if real is None:
        pytest.skip("no git")
    (path / "git").symlink_to(real)
    assert await said(_resolve) == f"cannot ask the git server: appRef on {REMOTE}: {NO_SSH}"
    monkeypatch.setenv("GIT_SSH", "/nonexistent/ssh-wrapper")
    assert "/nonexistent/ssh-wrapper is not installed" in await said(_resolve)


@pytest.mark.parametrize(
    ("printed", "expected"),
    [
        (
            (
                "\\033[31;1merror:\\033[0m executing '\\033[35;1mgit\\033[0m': \\033[35;1mNo"
                " such file or directory\\033[0m\\nerror:\\n revspec 'master' not found"
            ),
            NO_GIT,
        ),
        (
            (
                "\\033[31;1merror:\\033[0m Could not find executable '\\033[35;1mssh\\033[0m'\\n"
                "error: failed to start SSH connection to 'root@127.0.0.1'"
            ),
            NO_SSH,
        ),
    ],
    ids=["git", "ssh"],
)
async def test_nix_without_what_it_starts(path: Path, printed: str, expected: str) -> None:
    """As nix 2.26.3 prints it, to a pipe."""
    (path / "nix").write_text(f'#!/bin/sh\nprintf "{printed}" >&2\nexit 1\n')
    (path / "nix").chmod(0o755)
    assert await said(_metadata) == f"cannot read the flake: flake: {expected}"
    assert await said(lambda: closure.copy(SYSTEM, SSH)) == f"the copy failed: web1: {expected}"


async def test_what_a_host_lacks_is_not_installed_here() -> None:
    words = "error: executing 'git': No such file or directory"
    error = process_error(("ssh", "x"), 1, words)
    assert (error.detail, error.remedy) == (words, "")
