"""Fixtures: git servers, and a log of nix commands."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from components.pipeline.release import nix
from harness.caches import isolated_caches
from harness.daemons.git_repositories import GitRepositories, create
from harness.daemons.git_server import git_daemon, git_over_http
from harness.daemons.programs import replace_program


@pytest.fixture(scope="module")
def repos(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GitRepositories]:
    """Repositories on git servers, and an empty cache.

    Only for a module, as other tests need the user's cache with the toolchain.
    """
    if shutil.which("nix") is None:
        pytest.skip("nix is not on PATH; tools/bootstrap installs it")
    base = tmp_path_factory.mktemp("git")
    with (
        isolated_caches(tmp_path_factory.mktemp("cache")),
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
        patch.setenv("GIT_CONFIG_NOSYSTEM", "1")
        nix._version.clear()
        with git_daemon(base) as by_git, git_over_http(base) as by_http:
            infra = base.parent / f"{base.name}-infra"
            yield create(GitRepositories(base=base, by_git=by_git, by_http=by_http, infra=infra))
    nix._version.clear()


@pytest.fixture
def nix_log(repos: GitRepositories, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file with a line for each nix command that was started."""
    assert repos.base.is_dir()
    folder, log = tmp_path / "bin", tmp_path / "nix.log"
    log.touch()
    script = f'#!/bin/sh\nprintf "%s\\n" "$*" >>{log}\nexec {shutil.which("nix")} "$@"\n'
    replace_program(monkeypatch, folder, "nix", script)
    return log
