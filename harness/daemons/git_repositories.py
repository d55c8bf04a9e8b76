"""Repositories with an app and an infra flake, and the settings of a stack for them."""

import json
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from components.pipeline.config.stack import HostSpec, Settings
from components.pipeline.values import FlakeUrl, InputName, Ref
from tests.unit.hosts import host

DEMO = Path(__file__).parents[2] / "demo"
SIMPLE = """{ outputs = _: { nixosConfigurations.web1.config.system.build.toplevel = derivation {
  name = "nixos-system-web1-1"; system = "x86_64-linux"; builder = "/bin/sh";
  args = [ "-c" "echo > $out" ]; }; }; }
"""
"""A flake without inputs."""


def run(*argv: str | Path, cwd: Path | None = None) -> str:
    done = subprocess.run(
        tuple(map(str, argv)), cwd=cwd, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, f"{argv}: {done.stderr}"
    return done.stdout.strip()


def git(folder: Path, *words: str) -> str:
    return run("git", "-C", folder, "-c", "user.name=T", "-c", "user.email=t@example.org", *words)


def commit(folder: Path, message: str = "A change") -> str:
    """Commit everything in a folder, which becomes a repository if it is not one."""
    if not (folder / ".git").exists():
        git(folder, "init", "--quiet", "--initial-branch=main")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", message)
    return git(folder, "rev-parse", "HEAD")


@dataclass(frozen=True, slots=True, kw_only=True)
class GitRepositories:
    """Bare repositories `app.git` and `infra.git`, and the URLs of their servers."""

    base: Path
    by_git: str
    by_http: str
    infra: Path
    """The infra flake's work tree: the flake is in its root, and again in `nix/`."""

    def app(self, name: str) -> str:
        """The commit of a ref of the app."""
        return git(self.base / "app.git", "rev-parse", f"{name}^{{commit}}")

    def render(self, folder: Path, hosts: Mapping[str, object] | None = None) -> Path:
        """Write the demo's flake to a folder, with the app on the git server as its input."""
        run(DEMO / "render-flake", folder, f"{self.by_git}/app.git")
        if hosts is not None:
            (folder / "hosts.json").write_text(json.dumps(hosts))
        return folder


def create(repos: GitRepositories) -> GitRepositories:
    """Create and fill the repositories."""
    work = repos.infra.with_name(f"{repos.base.name}-app")
    run(DEMO / "app-repo", work)
    git(repos.base, "clone", "--quiet", "--bare", str(work), "app.git")
    app = repos.base / "app.git"
    git(app, "update-ref", "refs/tags/twin", "v1")
    git(app, "update-ref", "refs/heads/twin", "v2")
    git(app, "update-ref", "refs/pull/7/head", "v3")
    repos.render(repos.infra)
    shutil.copytree(repos.infra, repos.infra / "nix")
    commit(repos.infra, "The flake")
    git(repos.infra, "tag", "--annotate", "r1", "--message", "The first")
    git(repos.base, "clone", "--quiet", "--bare", str(repos.infra), "infra.git")
    return repos


def settings(
    flake: str,
    *,
    flake_ref: str | None = None,
    app_ref: str | None = None,
    app_input: str = "app",
    hosts: tuple[HostSpec, ...] | None = None,
) -> Settings:
    """The settings of a stack, whose host uses the stack's appRef."""
    ref = None if app_ref is None else Ref.parse(app_ref)
    return Settings(
        flake=FlakeUrl.parse(flake),
        flake_ref=None if flake_ref is None else Ref.parse(flake_ref),
        app_ref=ref,
        app_input=InputName.parse(app_input).text,
        hosts=(host(app_ref=app_ref),) if hosts is None else hosts,
    )
