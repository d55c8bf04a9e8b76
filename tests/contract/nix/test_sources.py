"""Which files of a folder become a flake's sources: what git would give, and no secret."""

import os
import socket
from pathlib import Path

import pytest

from components.pipeline.errors import EvaluationError, RefError
from components.pipeline.evaluate import evaluate
from components.pipeline.release import nix, release, sources
from components.pipeline.release.tree import files_in, tree_id
from harness.daemons.git_repositories import SIMPLE, commit, git, settings
from tests.unit.hosts import host

pytestmark = pytest.mark.contract

SECRET = "DB_PASSWORD=hunter2\n"  # noqa: S105 a made-up one


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = tmp_path / "cache"
    (cache / "locks").mkdir(parents=True)
    monkeypatch.setattr(nix, "cache_folder", lambda: cache)


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """A repository with a flake in `flake/`, all of it committed."""
    folder = tmp_path / "program"
    (folder / "flake/hosts").mkdir(parents=True)
    (folder / "flake/flake.nix").write_text(SIMPLE)
    (folder / "flake/hosts/run").write_text("#!/bin/sh\n")
    (folder / "flake/hosts/run").chmod(0o755)
    (folder / "flake/link").symlink_to("hosts/run")
    (folder / ".gitignore").write_text("result\nsecrets.env\n*.sock\n.flakeup/\n")
    commit(folder)
    return folder


async def taken(folder: Path, subfolder: str = "") -> sources.Sources:
    return await sources.take(folder, subfolder)


async def refused(folder: Path, subfolder: str = "") -> str:
    with pytest.raises(RefError) as caught:
        await sources.take(folder, subfolder)
    return str(caught.value)


def names(found: sources.Sources) -> set[str]:
    return set(files_in(found.folder))


def litter(folder: Path) -> None:
    """What lies about in a folder that people work in."""
    (folder / "result").symlink_to("/nix/store")
    (folder / "secrets.env").write_text(SECRET)
    (folder / ".flakeup/prod/ssh").mkdir(parents=True)
    (folder / ".flakeup/prod/ssh/key").write_text(SECRET)
    with socket.socket(socket.AF_UNIX) as server:
        before = Path.cwd()
        os.chdir(folder)  # the path of a socket has at most 107 bytes
        server.bind("app.sock")
        os.chdir(before)
    os.mkfifo(folder / "pipe")


async def test_it_is_what_git_has(program: Path) -> None:
    found = await taken(program / "flake")
    assert found.tree == git(program, "rev-parse", "HEAD:flake") == tree_id(files_in(found.folder))
    assert names(found) == {"flake.nix", "hosts/run", "link"}
    assert found.notes == ()


async def test_what_git_ignores_is_left_out(program: Path) -> None:
    before = await taken(program / "flake")
    litter(program / "flake")
    assert await taken(program / "flake") == before


async def test_the_whole_repository_without_what_it_ignores(program: Path) -> None:
    litter(program)
    found = await taken(program, "flake")
    assert names(found) == {
        ".gitignore", "flake/flake.nix", "flake/hosts/run", "flake/link",
    }  # fmt: skip
    assert found.tree == git(program, "rev-parse", "HEAD^{tree}")


async def test_the_ssh_key_even_if_git_tracks_it(program: Path) -> None:
    litter(program)
    git(program, "add", "--force", ".flakeup")
    assert not any(".flakeup" in name for name in names(await taken(program, "flake")))


async def test_a_touch_and_an_empty_commit_change_nothing(program: Path) -> None:
    before = await taken(program / "flake")
    os.utime(program / "flake/flake.nix")
    git(program, "commit", "--quiet", "--allow-empty", "--message", "Nothing")
    assert await taken(program / "flake") == before


async def test_what_is_not_committed_is_taken_and_said(program: Path) -> None:
    (program / "flake/hosts/run").write_text("#!/bin/sh\necho changed\n")
    (program / "flake/link").unlink()
    (program / "flake/new.nix").write_text("{ }\n")
    found = await taken(program / "flake")
    assert found.notes == (
        "the flake has changes that are not committed: flake/hosts/run, flake/link",
        "git does not track, so the flake does not have: flake/new.nix",
    )
    assert names(found) == {"flake.nix", "hosts/run"}
    assert (found.folder / "hosts/run").read_text() == "#!/bin/sh\necho changed\n"
    git(program, "add", "flake/new.nix")
    assert "new.nix" in names(await taken(program / "flake"))


async def test_many_names_are_cut(program: Path) -> None:
    for number in range(8):
        (program / f"flake/{number}.nix").write_text("{ }\n")
    (note,) = (await taken(program / "flake")).notes
    assert note.endswith("flake/4.nix and 3 more")


async def test_a_folder_that_is_a_link_now(program: Path, tmp_path: Path) -> None:
    """To git, what was in it is deleted; what the link leads to is no source."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/run").write_text(SECRET)
    (program / "flake/hosts/run").unlink()
    (program / "flake/hosts").rmdir()
    (program / "flake/hosts").symlink_to(tmp_path / "elsewhere")
    assert names(await taken(program / "flake")) == {"flake.nix", "link"}


async def test_a_file_with_a_filter_is_what_git_keeps(program: Path) -> None:
    """An unlocked file of git-crypt, and a file of git-lfs: another clone has them otherwise."""
    for key, command in (("clean", "tr a-z A-Z"), ("smudge", "tr A-Z a-z")):
        git(program, "config", f"filter.crypt.{key}", command)
    (program / "flake/.gitattributes").write_text("*.secret filter=crypt\n")
    for name in ("one", "two"):
        (program / f"flake/{name}.secret").write_text(f"{name}\nplain")
    commit(program)
    found = await taken(program / "flake")
    assert (found.folder / "one.secret").read_text() == "ONE\nPLAIN"
    assert (found.folder / "two.secret").read_text() == "TWO\nPLAIN"
    assert found.tree == git(program, "rev-parse", "HEAD:flake")


async def test_submodules(program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library = tmp_path / "library"
    library.mkdir()
    (library / "lib.nix").write_text("{ }\n")
    commit(library)
    git(program, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add",
        str(library), "flake/lib")  # fmt: skip
    commit(program)
    (program / "flake/lib/ignored").write_text(SECRET)
    assert "lib/lib.nix" in names(await taken(program / "flake"))
    assert "lib/ignored" not in names(await taken(program / "flake"))
    del monkeypatch


async def test_a_folder_that_is_no_repository(tmp_path: Path) -> None:
    folder = tmp_path / "plain"
    folder.mkdir()
    (folder / "flake.nix").write_text(SIMPLE)
    litter(folder)
    (folder / "result").unlink()
    assert names(await taken(folder)) == {"flake.nix", "secrets.env"}


async def test_a_flake_that_git_does_not_track(program: Path) -> None:
    git(program, "rm", "--quiet", "--cached", "flake/flake.nix")
    assert await refused(program / "flake") == (
        f"no flake: flake: git does not track flake.nix in {program}/flake."
        " run `git add` for it (flakeup takes what git tracks, as nix does)"
    )


async def test_a_repository_that_git_refuses_to_read(
    program: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is taken instead: not the whole folder."""
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    text = await refused(program / "flake")
    assert text.startswith(f"cannot ask git for the flake's files: {program}/flake: ")
    assert "dubious ownership" in text


async def test_a_repository_without_git(program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    text = await refused(program / "flake")
    assert "git is not installed, or not on PATH" in text


async def test_a_merge_conflict(program: Path) -> None:
    file = program / "flake/hosts/run"
    git(program, "checkout", "--quiet", "-b", "other")
    file.write_text("theirs\n")
    commit(program)
    git(program, "checkout", "--quiet", "main")
    file.write_text("ours\n")
    commit(program)
    with pytest.raises(AssertionError):
        git(program, "merge", "other")
    assert "hosts/run has a merge conflict" in await refused(program / "flake")


@pytest.mark.parametrize("damage", ["empty", "gone", "more"])
async def test_a_damaged_copy_is_made_again(program: Path, damage: str) -> None:
    found = await taken(program / "flake")
    if damage == "empty":
        (found.folder / "hosts/run").write_text("")
    elif damage == "gone":
        (found.folder / "link").unlink()
    else:
        (found.folder / "other").write_text("more\n")
    assert await taken(program / "flake") == found
    assert tree_id(files_in(found.folder)) == found.tree


@pytest.mark.parametrize(
    ("flake", "place"),
    [("./flake", "program"), (".?dir=flake", "program"), ("../program/flake", "other")],
)
async def test_places_of_a_flake(program: Path, tmp_path: Path, flake: str, place: str) -> None:
    """The second run, with the key in the folder and another time, is the same release."""
    (tmp_path / "other").mkdir()
    first = (await release.resolve(settings(flake), tmp_path / place))[None]
    litter(program)
    litter(program / "flake")
    second = (await release.resolve(settings(flake), tmp_path / place))[None]
    assert second == first
    assert (await nix.metadata(first.flake.url, where="", remedy=""))["lastModified"] == 1


async def test_a_flake_that_reads_its_parent_folder(program: Path) -> None:
    (program / "common.nix").write_text('"a text"')
    text = "{ outputs = _: { text = import ../common.nix; }; }\n"
    (program / "flake/flake.nix").write_text(text)
    commit(program)
    one = (await release.resolve(settings(".?dir=flake"), program))[None]
    assert (await nix.command("eval", "--raw", f"{one.flake.url}#text")).text == "a text"


async def test_what_is_outside_of_the_folder_is_named(program: Path) -> None:
    (program / "common.nix").write_text('"a text"')
    text = "{ outputs = _: { nixosConfigurations.web1 = import ../common.nix; }; }\n"
    (program / "flake/flake.nix").write_text(text)
    commit(program)
    hosts = (host("web1"),)
    found = await release.resolve(settings("./flake", hosts=hosts), program)
    with pytest.raises(EvaluationError) as caught:
        await evaluate.evaluate_hosts(found, hosts)
    assert str(caught.value) == (
        "outside of the flake: web1: nixosConfigurations.web1 reads common.nix next to the flake's"
        " folder, which is no part of it. name a folder that holds both, such as"
        " `flake: .?dir=flake`"
    )
