"""From refs to commits and one lock, with the real nix and real git servers."""
# ruff: noqa: ASYNC240 small local files

import json
import shutil
import socket
import time
from dataclasses import replace
from pathlib import Path

import pytest

from components.pipeline.config.stack import Settings
from components.pipeline.errors import RefError
from components.pipeline.release import git as git_refs
from components.pipeline.release import release
from components.pipeline.release.git import RefKind
from components.pipeline.release.release import Release
from components.pipeline.release.tree import files_in, tree_id
from components.pipeline.values import Ref, Rev
from harness.daemons.git_repositories import SIMPLE, GitRepositories, commit, git, settings
from harness.ports import free_port
from tests.unit.hosts import host

pytest_plugins = ["harness.daemons.servers"]
pytestmark = pytest.mark.contract


@pytest.fixture(scope="module")
def root(repos: GitRepositories, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A program's folder with the demo's flake in `flake/`."""
    folder = tmp_path_factory.mktemp("program")
    repos.render(folder / "flake")
    return folder


async def resolved(wanted: Settings, root: Path) -> Release:
    return (await release.resolve(wanted, root))[None]


async def refused(wanted: Settings, root: Path) -> str:
    with pytest.raises(RefError) as caught:
        await release.resolve(wanted, root)
    return str(caught.value)


def locked_app(one: Release) -> str:
    """The app's commit in the lock that nix is given."""
    rev: str = json.loads(one.lock.read_text())["nodes"]["app"]["locked"]["rev"]
    return rev


# --- appRef -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ref", "name", "kind", "full"),
    [
        pytest.param("v1", "v1", RefKind.TAG, "refs/tags/v1", id="annotated tag"),
        pytest.param("v2", "v2", RefKind.TAG, "refs/tags/v2", id="tag"),
        pytest.param("next", "next", RefKind.BRANCH, "refs/heads/next", id="branch"),
        pytest.param("refs/tags/twin", "v1", RefKind.TAG, "refs/tags/twin", id="full tag"),
        pytest.param("refs/heads/twin", "v2", RefKind.BRANCH, "refs/heads/twin", id="full branch"),
        pytest.param("refs/pull/7/head", "v3", RefKind.OTHER, "refs/pull/7/head", id="other"),
    ],
)
async def test_app_ref(  # noqa: PLR0913, PLR0917 what a ref is resolved to
    repos: GitRepositories, root: Path, ref: str, name: str, kind: RefKind, full: str
) -> None:
    one = await resolved(settings("./flake", app_ref=ref), root)
    assert one.app is not None
    assert (one.app.kind, one.app.full, one.app.rev.text) == (kind, full, repos.app(name))
    assert locked_app(one) == repos.app(name)


@pytest.mark.parametrize("name", ["v1", "v3"])
async def test_app_ref_is_a_commit(repos: GitRepositories, root: Path, name: str) -> None:
    """Even one that is not on the default branch, the only one where nix looks."""
    rev = repos.app(name)
    one = await resolved(settings("./flake", app_ref=rev), root)
    assert one.app is not None
    assert (one.app.kind, one.app.full) == (RefKind.COMMIT, None)
    assert locked_app(one) == rev


@pytest.mark.parametrize("content", ["", "\0" * 100, '{"nodes": {', "[]", "[" * 50_000])
async def test_a_damaged_lock_in_the_cache_is_made_again(
    repos: GitRepositories, root: Path, content: str
) -> None:
    """A power cut may leave an empty file where nothing was synced."""
    wanted = settings("./flake", app_ref="v2")
    first = await resolved(wanted, root)
    first.lock.write_text(content)
    assert await resolved(wanted, root) == first
    assert locked_app(first) == repos.app("v2")
    assert [path.name for path in first.lock.parent.glob(f"{first.lock.name}.*")] == []


async def test_without_app_ref_the_flakes_own_lock_is_used(
    repos: GitRepositories, root: Path
) -> None:
    one = await resolved(settings("./flake"), root)
    assert one.app is None
    assert locked_app(one) == repos.app("v1")
    assert one.lock.read_text() == (root / "flake/flake.lock").read_text()


async def test_app_rev_must_match_the_ref(repos: GitRepositories, root: Path) -> None:
    wanted = settings("./flake", app_ref="v2")
    good = replace(wanted, app_rev=Rev(repos.app("v2")))
    assert locked_app(await resolved(good, root)) == repos.app("v2")
    bad = replace(wanted, app_rev=Rev(repos.app("v1")))
    assert await refused(bad, root) == (
        f"appRef and appRev disagree: appRef v2: v2 is {repos.app('v2')} now, and the config says"
        f" {repos.app('v1')}. find out who moved it; to accept, `pulumi config set appRev` to the"
        " new commit"
    )


async def test_a_tag_and_a_branch_of_the_same_name(repos: GitRepositories, root: Path) -> None:
    assert await refused(settings("./flake", app_ref="twin"), root) == (
        f"ambiguous ref: appRef on {repos.by_git}/app.git: twin is both a tag and a branch."
        " write refs/tags/twin or refs/heads/twin"
    )


@pytest.mark.parametrize(
    ("ref", "hint"),
    [("v11", "did you mean v1?"), ("zzz", "push it, or name one that is there")],
)
async def test_an_unknown_ref(repos: GitRepositories, root: Path, ref: str, hint: str) -> None:
    assert await refused(settings("./flake", app_ref=ref), root) == (
        f"no such ref: appRef on {repos.by_git}/app.git: {ref} is not there. {hint}"
    )


async def test_an_unknown_commit(root: Path) -> None:
    text = await refused(settings("./flake", app_ref="0" * 40), root)
    assert text.startswith("cannot lock the release: git://127.0.0.1:")
    assert "0" * 40 in text


async def test_an_unknown_repository(repos: GitRepositories, root: Path) -> None:
    wanted = settings(f"git+{repos.by_http}/none.git", flake_ref="r1")
    text = await refused(wanted, root)
    assert text.startswith(
        f"cannot ask the git server: flakeRef on {repos.by_http}/none.git: fatal: repository"
    )


async def test_a_git_server_that_is_down(
    repos: GitRepositories, root: Path, tmp_path: Path
) -> None:
    there = repos.by_git
    away = f"git://127.0.0.1:{free_port()}"
    shutil.copytree(root / "flake", tmp_path / "flake")
    for file in ("flake.nix", "flake.lock"):
        path = tmp_path / "flake" / file
        path.write_text(path.read_text().replace(there, away))
    began = time.monotonic()
    text = await refused(settings("./flake", app_ref="v2"), tmp_path)
    assert time.monotonic() - began < 15
    assert text.startswith(f"cannot ask the git server: appRef on {away}/app.git: ")
    assert "Connection refused" in text
    assert text.endswith(
        "check the URL, the network and your git credentials"
        f" (`git ls-remote {away}/app.git` must answer without a prompt)"
    )


async def test_a_git_server_that_never_answers(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(git_refs, "TIMEOUT", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"git+git://127.0.0.1:{silent.getsockname()[1]}/infra.git"
        began = time.monotonic()
        text = await refused(settings(url, flake_ref="main"), root)
    assert "timed out after 0.5 s" in text
    assert time.monotonic() - began < 5


# --- the flake's kinds --------------------------------------------------------------------


@pytest.mark.parametrize("protocol", ["git", "http"])
@pytest.mark.parametrize("folder", ["", "nix"])
async def test_a_flake_on_a_git_server(
    repos: GitRepositories, tmp_path: Path, protocol: str, folder: str
) -> None:
    server = repos.by_git if protocol == "git" else repos.by_http
    flake = f"git+{server}/infra.git" + (f"?dir={folder}" if folder else "")
    wanted = settings(flake, flake_ref="r1", app_ref="v2")
    one = await resolved(wanted, tmp_path)
    rev = git(repos.infra, "rev-parse", "r1^{commit}")
    assert one.flake.pin is not None
    assert (one.flake.pin.kind, one.flake.pin.rev.text) == (RefKind.TAG, rev)
    assert one.flake.identity == f"{rev}/{folder}"
    assert locked_app(one) == repos.app("v2")
    assert one.record(wanted.flake) == {
        "appInput": "app",
        "appRef": "v2",
        "appRefKind": "tag",
        "appRev": repos.app("v2"),
        "appUrl": f"git+{repos.by_git}/app.git",
        "flake": flake,
        "flakeRev": rev,
        "lockSha256": one.lock_sha256,
    }


async def test_a_flake_in_another_folder(repos: GitRepositories, tmp_path: Path) -> None:
    folder = repos.render(tmp_path / "elsewhere")
    one = await resolved(settings(str(folder), app_ref="v2"), tmp_path / "program")
    assert (one.flake.pin, one.flake.tree) == (None, tree_id(files_in(folder)))
    assert locked_app(one) == repos.app("v2")


async def test_a_folder_and_its_dir(repos: GitRepositories, tmp_path: Path) -> None:
    repos.render(tmp_path / "all" / "nix")
    one = await resolved(settings("./all?dir=nix", app_ref="v2"), tmp_path)
    assert one.flake.identity.endswith("=/nix")
    assert locked_app(one) == repos.app("v2")


async def test_a_program_in_a_folder_with_an_unusual_name(
    repos: GitRepositories, tmp_path: Path
) -> None:
    root = tmp_path / "my project #1"
    repos.render(root / "flake")
    assert locked_app(await resolved(settings("./flake", app_ref="v2"), root)) == repos.app("v2")


async def test_a_local_repository(repos: GitRepositories, tmp_path: Path) -> None:
    wanted = settings(f"git+file://{repos.base}/infra.git", flake_ref="r1", app_ref="v2")
    assert locked_app(await resolved(wanted, tmp_path)) == repos.app("v2")


async def test_a_folder_without_a_flake(tmp_path: Path) -> None:
    assert await refused(settings("./flake"), tmp_path) == (
        f"no flake: flake: {tmp_path}/flake has no flake.nix. name the folder that holds it"
    )


async def test_a_flake_without_an_app(repos: GitRepositories, tmp_path: Path) -> None:
    (tmp_path / "flake").mkdir()
    (tmp_path / "flake/flake.nix").write_text(SIMPLE)
    wanted = settings("./flake")
    one = await resolved(wanted, tmp_path)
    assert one.app is None
    assert one.flake.inputs == {}
    assert set(one.record(wanted.flake)) == {
        "flake",
        "flakeNarHash",
        "flakeTree",
        "lockSha256",
    }
    assert await refused(settings("./flake", app_ref="v1"), tmp_path) == (
        "nothing to pin: appRef v1: the flake has no input app (its inputs: none)."
        " set appInput to the one that holds the app, or remove appRef"
    )
    del repos


async def test_an_app_input_of_another_name(root: Path) -> None:
    assert await refused(settings("./flake", app_ref="v1", app_input="shop"), root) == (
        "nothing to pin: appRef v1: the flake has no input shop (its inputs: app)."
        " set appInput to the one that holds the app, or remove appRef"
    )


async def test_a_lock_that_is_out_of_date(repos: GitRepositories, tmp_path: Path) -> None:
    folder = repos.render(tmp_path / "flake")
    text = (folder / "flake.nix").read_text()
    more = f'  inputs.more = {{ url = "{repos.by_git}/infra.git"; flake = false; }};\n\n  outputs ='
    (folder / "flake.nix").write_text(text.replace("  outputs =", more, 1))
    before = (folder / "flake.lock").read_text()
    assert await refused(settings("./flake", app_ref="v2"), tmp_path) == (
        "cannot read the flake: ./flake: flake.lock lacks inputs that flake.nix names."
        " run `nix flake lock` there and commit flake.lock"
    )
    assert (folder / "flake.lock").read_text() == before


@pytest.mark.usefixtures("repos")
async def test_a_flake_that_is_not_nix(tmp_path: Path) -> None:
    (tmp_path / "flake").mkdir()
    (tmp_path / "flake/flake.nix").write_text("{ outputs = ")
    text = await refused(settings("./flake"), tmp_path)
    assert text.startswith("cannot read the flake: ./flake: ")
    assert "syntax error" in text


# --- the lock -----------------------------------------------------------------------------


async def test_the_lock_is_created_once(root: Path, nix_log: Path) -> None:
    wanted = settings("./flake", app_ref="main")
    first = await resolved(wanted, root)
    assert [line for line in nix_log.read_text().splitlines() if "--output-lock-file" in line]
    nix_log.write_text("")
    assert await resolved(wanted, root) == first
    assert not [line for line in nix_log.read_text().splitlines() if "--output-lock-file" in line]


async def test_a_host_with_its_own_ref(repos: GitRepositories, root: Path) -> None:
    hosts = (host("web1", app_ref="v1"), host("web2", app_ref="v2"), host("web3", app_ref="v1"))
    releases = await release.resolve(settings("./flake", app_ref="v1", hosts=hosts), root)
    assert {ref and ref.text for ref in releases} == {None, "v2"}
    assert locked_app(releases[None]) == repos.app("v1")
    assert locked_app(releases[Ref("v2")]) == repos.app("v2")
    assert releases[None].lock != releases[Ref("v2")].lock


async def test_two_names_of_one_commit_at_once(repos: GitRepositories, tmp_path: Path) -> None:
    """Both create the same lock at the same time."""
    repos.render(tmp_path / "flake", {"web1": {"extraText": "two names"}})
    hosts = (host("web1", app_ref="v2"), host("web2", app_ref="refs/tags/v2"))
    releases = await release.resolve(settings("./flake", app_ref="v2", hosts=hosts), tmp_path)
    assert len({one.lock for one in releases.values()}) == 1
    assert len(releases) == 2


async def test_no_incomplete_lock_is_left(root: Path) -> None:
    await refused(settings("./flake", app_ref="1" * 40), root)
    one = await resolved(settings("./flake", app_ref="v1"), root)
    assert {path.suffix for path in one.lock.parent.iterdir()} == {".json"}


# --- the same everywhere ------------------------------------------------------------------


async def test_the_same_release_in_every_clone(repos: GitRepositories, tmp_path: Path) -> None:
    origin = tmp_path / "origin"
    repos.render(origin / "flake")
    (origin / "Pulumi.prod.yaml").write_text("config: {}\n")
    commit(origin)
    roots = [tmp_path / "one", tmp_path / "deeper/other"]
    for root in roots:
        git(tmp_path, "clone", "--quiet", str(origin), str(root))
    wanted = settings("./flake", app_ref="v2")
    one, other = [await resolved(wanted, root) for root in roots]
    assert one.flake.identity == other.flake.identity
    assert one.flake.tree == git(origin, "rev-parse", "HEAD:flake")
    assert one.record(wanted.flake) == other.record(wanted.flake)

    (roots[0] / "Pulumi.prod.yaml").write_text("config: {flakeup:appRef: v2}\n")
    assert await resolved(wanted, roots[0]) == one

    (roots[0] / "flake/hosts.json").write_text('{"web1": {"extraText": "edited"}}')
    edited = await resolved(wanted, roots[0])
    assert edited.flake.identity != one.flake.identity
    git(roots[0], "add", "--all")
    assert edited.flake.tree == git(roots[0], "write-tree", "--prefix=flake/")
