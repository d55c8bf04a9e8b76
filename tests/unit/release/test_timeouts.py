"""A nix that takes too long is ended, and the message names the key; nix is a script."""

import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path, PurePosixPath
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest

from components.pipeline.config.timeouts import DEFAULT_TIMEOUTS, Phase, Timeouts
from components.pipeline.deploy import closure
from components.pipeline.errors import EvaluationError, FlakeupError
from components.pipeline.evaluate import evaluate
from components.pipeline.evaluate.attribute import EvaluatedAttr
from components.pipeline.release import nix
from components.pipeline.transport.ssh import Ssh
from components.pipeline.transport.ssh_files import SshFiles
from components.pipeline.values import Duration, StorePath
from tests.unit.hosts import host, toplevel

if TYPE_CHECKING:
    from components.pipeline.release.release import Release

OUT = toplevel("a")
SYSTEM = EvaluatedAttr(attr="web1", drv_path=StorePath.parse(f"{OUT.path}.drv"), out_path=OUT)
SECOND = Duration("1s")


@pytest.fixture(autouse=True)
def _slow_nix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """One that never ends, but for its version, in a stack with a second for everything."""
    program = tmp_path / "nix"
    program.write_text('#!/bin/sh\ncase "$*" in *--version) echo 2.26.3;; *) sleep 60;; esac\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    nix.cache_folder.cache_clear()
    monkeypatch.setattr(nix, "_version", [])
    nix.configure(Timeouts(fetch=SECOND, evaluate=SECOND, build=SECOND, copy=SECOND))
    yield
    nix.configure(DEFAULT_TIMEOUTS)
    nix.cache_folder.cache_clear()


async def _copy(folder: Path) -> None:
    files = SshFiles(known_hosts=PurePosixPath(folder / "known_hosts"), key=None)
    await closure.copy(SYSTEM, Ssh.of(host(), files))


async def _accept(lock: Path) -> None:
    """Accept any lock."""
    del lock


@pytest.mark.parametrize(
    ("act", "expected"),
    [
        (
            lambda _: nix.metadata("path:/x", where="./flake", remedy="check it"),
            (
                "cannot read the flake: ./flake: timed out after 1s. set timeouts.fetch to more"
                " than"
                " 1s; what was fetched whole is kept"
            ),
        ),
        (
            lambda folder: nix.lock("path:/x", {}, folder / "lock", _accept),
            (
                "cannot lock the release: path:/x: timed out after 1s. set timeouts.fetch to"
                " more than"
                " 1s; what was fetched whole is kept"
            ),
        ),
        (
            lambda _: closure.realise((SYSTEM,)),
            (
                "the build failed: web1: timed out after 1s. no host was changed; set"
                " timeouts.build to"
                " more than 1s; what was built whole is kept in this machine's store"
            ),
        ),
        (
            _copy,
            (
                "the copy failed: web1: timed out after 1s. set timeouts.copy to more than 1s;"
                " what the"
                " host has received whole is kept there"
            ),
        ),
    ],
    ids=["metadata", "lock", "build", "copy"],
)
async def test_the_message_names_the_key(
    tmp_path: Path, act: Callable[[Path], Awaitable[object]], expected: str
) -> None:
    began = time.monotonic()
    with pytest.raises(FlakeupError) as caught:
        await act(tmp_path)
    assert str(caught.value) == expected
    assert time.monotonic() - began < 20


async def test_an_evaluation(tmp_path: Path) -> None:
    flake = SimpleNamespace(identity="a flake", url="path:/x")
    made = SimpleNamespace(flake=flake, lock=tmp_path, lock_sha256="0", label="the flake")
    with pytest.raises(EvaluationError) as caught:
        await evaluate.evaluate_host(cast("Release", made), "web1")
    assert str(caught.value) == (
        "the flake does not evaluate: web1: timed out after 1s. set timeouts.evaluate to more than"
        " 1s; what was built meanwhile is kept in this machine's store"
    )


def test_the_defaults() -> None:
    assert {phase: DEFAULT_TIMEOUTS.of(phase).text for phase in Phase} == {
        "fetch": "10m",
        "evaluate": "10m",
        "build": "6h",
        "copy": "1h",
    }
