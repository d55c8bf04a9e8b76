"""The inputs of an app's own: a release has them as the app's lock says."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from components.pipeline.errors import RefError
from components.pipeline.release import nix, release
from harness.daemons.git_repositories import commit, git, run, settings

pytestmark = pytest.mark.contract

NIX = ("nix", "--extra-experimental-features", "nix-command flakes")


@dataclass(frozen=True, slots=True, kw_only=True)
class Repositories:
    """Repositories of an app and its libraries, in one folder, and an infra flake."""

    folder: Path

    def url(self, name: str) -> str:
        return f"git+file://{self.folder / name}"

    def write(self, name: str, inputs: Mapping[str, str], text: str = "", *, lock: bool) -> str:
        """Write a flake with these inputs (Nix attributes), commit it, and return the commit."""
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        lines = "".join(f"  inputs.{key} = {what};\n" for key, what in inputs.items())
        (folder / "flake.nix").write_text(
            f"{{\n{lines}  outputs = inputs: {{ text = ''{text}''; }};\n}}\n"
        )
        if lock:
            run(*NIX, "flake", "update", "--flake", f"path:{folder}")
        return commit(folder)

    def library(self, name: str, text: str) -> str:
        return self.write(name, {}, text, lock=False)

    def input(self, name: str) -> str:
        return f'{{ url = "{self.url(name)}"; }}'


@pytest.fixture
def repositories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repositories:
    """An app whose tag v1 has one library, and v2 a newer one and another."""
    monkeypatch.setattr(nix, "cache_folder", lambda: _cache(tmp_path / "cache"))
    made = Repositories(folder=tmp_path)
    made.library("lib", "lib 1")
    made.write("app", {"lib": made.input("lib")}, lock=True)
    git(tmp_path / "app", "tag", "v1")
    made.write("flake", {"app": made.input("app")}, lock=True)
    made.library("lib", "lib 2")
    made.library("lib2", "lib2 1")
    made.write("app", {name: made.input(name) for name in ("lib", "lib2")}, lock=True)
    git(tmp_path / "app", "tag", "v2")
    return made


def _cache(folder: Path) -> Path:
    (folder / "locks").mkdir(parents=True, exist_ok=True)
    return folder


async def pinned(repositories: Repositories, ref: str) -> dict[str, str]:
    """The commit of each node of the release's lock."""
    one = (await release.resolve(settings("./flake", app_ref=ref), repositories.folder))[None]
    nodes: dict[str, Any] = json.loads(one.lock.read_text())["nodes"]
    locked = {name: node["locked"] for name, node in nodes.items() if "locked" in node}
    return {name: it["rev"] for name, it in locked.items() if "rev" in it}


def head(repositories: Repositories, name: str) -> str:
    return git(repositories.folder / name, "rev-parse", "HEAD")


async def test_the_apps_own_lock_decides(repositories: Repositories) -> None:
    libraries = {name: head(repositories, name) for name in ("lib", "lib2")}
    repositories.library("lib", "lib 3")
    repositories.library("lib2", "lib2 2")
    assert await pinned(repositories, "v2") == {"app": head(repositories, "app"), **libraries}


async def test_the_way_back_to_an_older_release(repositories: Repositories) -> None:
    first = git(repositories.folder / "lib", "rev-parse", "HEAD^")
    repositories.write("flake", {"app": repositories.input("app")}, lock=True)
    assert (await pinned(repositories, "v1"))["lib"] == first


async def test_another_cache_gives_the_same_lock(
    repositories: Repositories, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = settings("./flake", app_ref="v2")
    one = (await release.resolve(wanted, repositories.folder))[None]
    repositories.library("lib2", "lib2 2")
    other = _cache(repositories.folder / "other")
    monkeypatch.setattr(nix, "cache_folder", lambda: other)
    again = (await release.resolve(wanted, repositories.folder))[None]
    assert again.lock != one.lock
    assert again.lock.read_bytes() == one.lock.read_bytes()


async def test_an_input_of_the_flake_that_follows_one_of_the_app(
    repositories: Repositories,
) -> None:
    inputs = {"app": repositories.input("app"), "lib": '{ follows = "app/lib"; }'}
    repositories.write("flake", inputs, lock=True)
    repositories.library("lib", "lib 3")
    repositories.write("app", {"lib": repositories.input("lib")}, lock=True)
    git(repositories.folder / "app", "tag", "v3")
    third = head(repositories, "lib")
    repositories.library("lib", "lib 4")
    assert (await pinned(repositories, "v3"))["lib"] == third


async def test_inputs_of_inputs(repositories: Repositories) -> None:
    repositories.write("lib", {"lib2": repositories.input("lib2")}, lock=True)
    repositories.write("app", {"lib": repositories.input("lib")}, lock=True)
    git(repositories.folder / "app", "tag", "v3")
    deep = head(repositories, "lib2")
    repositories.library("lib2", "lib2 2")
    assert (await pinned(repositories, "v3"))["lib2"] == deep


async def test_what_the_flake_pins_itself_needs_no_lock_of_the_app(
    repositories: Repositories,
) -> None:
    first = git(repositories.folder / "lib", "rev-parse", "HEAD^")
    lib = f'{{ url = "{repositories.url("lib")}?rev={first}"; }}'
    app = f'{{ url = "{repositories.url("app")}"; inputs.lib.follows = "lib"; }}'
    repositories.write("flake", {"app": app, "lib": lib}, lock=True)
    (repositories.folder / "app/flake.lock").unlink()
    repositories.write("app", {"lib": repositories.input("lib")}, lock=False)
    git(repositories.folder / "app", "tag", "v3")
    assert (await pinned(repositories, "v3"))["lib"] == first


async def test_an_app_that_is_no_flake(repositories: Repositories) -> None:
    app = f'{{ url = "{repositories.url("app")}"; flake = false; }}'
    repositories.write("flake", {"app": app}, lock=True)
    assert await pinned(repositories, "v2") == {"app": head(repositories, "app")}


async def test_a_folder_of_the_app_is_pinned_by_the_app(repositories: Repositories) -> None:
    """It has no hash of its own in the lock."""
    part = repositories.folder / "app/part"
    part.mkdir()
    (part / "flake.nix").write_text("{ outputs = _: { text = ''a part''; }; }\n")
    git(repositories.folder / "app", "add", "part")
    repositories.write("app", {"part": '{ url = "path:./part"; }'}, lock=True)
    git(repositories.folder / "app", "tag", "v3")
    assert await pinned(repositories, "v3") == {"app": head(repositories, "app")}


@pytest.mark.parametrize("has_lock", [True, False])
async def test_what_no_lock_pins_is_refused(repositories: Repositories, *, has_lock: bool) -> None:
    """Else it would be the newest of the day, another one on each machine."""
    app = repositories.folder / "app"
    if not has_lock:
        (app / "flake.lock").unlink()
    inputs = {name: repositories.input(name) for name in ("lib", "lib2", "lib3")}
    repositories.library("lib3", "lib3 1")
    rev = repositories.write("app", inputs, lock=False)
    git(app, "tag", "v3")
    with pytest.raises(RefError) as caught:
        await pinned(repositories, "v3")
    missing = "app/lib3" if has_lock else "app/lib, app/lib2, app/lib3"
    what = "add what is missing to its flake.lock" if has_lock else "add a flake.lock"
    assert str(caught.value) == (
        f"cannot lock the release: {repositories.url('app')}?ref=refs/tags/v3&rev={rev}: {missing}:"
        " neither the flake's flake.lock nor the app's says at which commit."
        f" run `nix flake lock` in the app ({what}), commit it, and deploy that commit"
    )
    assert list((repositories.folder / "cache/locks").iterdir()) == []
