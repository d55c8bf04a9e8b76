"""What flake.nix asks of git for the app stays asked for when a ref pins it."""
# ruff: noqa: ASYNC240 small local files

from pathlib import Path

import pytest

from components.pipeline.errors import RefError
from components.pipeline.release import nix, release
from harness.daemons.git_repositories import commit, git, run, settings

pytestmark = pytest.mark.contract

NIX = ("nix", "--extra-experimental-features", "nix-command flakes")
APP = """{ outputs = _: {
  text = if builtins.pathExists ./theme/text then builtins.readFile ./theme/text else "no theme";
}; }
"""


@pytest.fixture(autouse=True)
def _settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache of our own, submodules from a local folder, and signed commits."""
    cache = tmp_path / "cache"
    (cache / "locks").mkdir(parents=True)
    monkeypatch.setattr(nix, "cache_folder", lambda: cache)
    monkeypatch.setenv("NIX_CONFIG", "extra-experimental-features = verified-fetches")
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "protocol.file.allow")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", "always")


@pytest.fixture
def app(tmp_path: Path) -> Path:
    folder = tmp_path / "app"
    folder.mkdir()
    (folder / "flake.nix").write_text(APP)
    commit(folder)
    return folder


def infra(root: Path, app_input: str) -> None:
    """Write a flake whose input `app` has these attributes in Nix."""
    (root / "flake").mkdir()
    (root / "flake/flake.nix").write_text(
        f"{{ inputs.app = {app_input}; outputs = inputs: {{ text = inputs.app.text; }}; }}\n"
    )
    run(*NIX, "flake", "lock", f"path:{root / 'flake'}")


async def text(root: Path, ref: str) -> str:
    """What the release says."""
    one = (await release.resolve(settings("./flake", app_ref=ref), root))[None]
    lock = ("--reference-lock-file", str(one.lock), "--no-update-lock-file")
    return (await nix.command("eval", "--raw", *lock, "--", f"{one.flake.url}#text")).text


async def test_submodules(app: Path, tmp_path: Path) -> None:
    theme = tmp_path / "theme"
    theme.mkdir()
    (theme / "text").write_text("a theme")
    commit(theme)
    git(app, "submodule", "--quiet", "add", str(theme), "theme")
    commit(app)
    git(app, "tag", "v1")
    infra(tmp_path, f'{{ url = "git+file://{app}?submodules=1"; }}')
    assert await text(tmp_path, "v1") == "a theme"


async def test_without_submodules(app: Path, tmp_path: Path) -> None:
    git(app, "tag", "v1")
    infra(tmp_path, f'{{ url = "git+file://{app}"; }}')
    assert await text(tmp_path, "v1") == "no theme"


async def test_export_ignore(app: Path, tmp_path: Path) -> None:
    (app / "theme").mkdir()
    (app / "theme/text").write_text("a theme")
    (app / ".gitattributes").write_text("theme export-ignore\n")
    commit(app)
    git(app, "tag", "v1")
    infra(tmp_path, f'{{ url = "git+file://{app}?exportIgnore=1"; }}')
    assert await text(tmp_path, "v1") == "no theme"


async def test_all_refs(app: Path, tmp_path: Path) -> None:
    """A commit that only a pull request has, in a repository whose input says allRefs."""
    (app / "theme").mkdir()
    (app / "theme/text").write_text("of a pull request")
    rev = commit(app)
    git(app, "update-ref", "refs/pull/7/head", rev)
    git(app, "reset", "--quiet", "--hard", "HEAD^")
    infra(tmp_path, f'{{ url = "git+file://{app}?allRefs=1"; }}')
    assert await text(tmp_path, "refs/pull/7/head") == "of a pull request"


async def test_a_branch_with_a_hash_in_its_name(app: Path, tmp_path: Path) -> None:
    infra(tmp_path, f'{{ url = "git+file://{app}"; }}')
    git(app, "checkout", "--quiet", "-b", "feature/#12-x")
    (app / "theme").mkdir()
    (app / "theme/text").write_text("of a branch")
    commit(app)
    git(app, "checkout", "--quiet", "main")
    assert await text(tmp_path, "feature/#12-x") == "of a branch"


async def test_a_repository_whose_name_is_escaped(app: Path, tmp_path: Path) -> None:
    other = app.rename(tmp_path / "the app")
    git(other, "tag", "v1")
    infra(tmp_path, f'{{ url = "git+file://{tmp_path}/the%20app"; }}')
    assert await text(tmp_path, "v1") == "no theme"


@pytest.mark.parametrize("is_signed", [True, False])
async def test_commits_that_have_to_be_signed(
    app: Path, tmp_path: Path, *, is_signed: bool
) -> None:
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "key")
    key = (tmp_path / "key.pub").read_text().split()[1]
    sign = ("-c", "gpg.format=ssh", "-c", f"user.signingkey={tmp_path / 'key'}")

    def signed(message: str) -> None:
        git(app, *sign, "commit", "--quiet", "--allow-empty", "-S", "--message", message)

    signed("The first")
    verified = f'verifyCommit = true; publicKey = "{key}"; keytype = "ssh-ed25519";'
    infra(tmp_path, f'{{ type = "git"; url = "file://{app}"; {verified} }}')
    if is_signed:
        signed("The second")
    else:
        git(app, "commit", "--quiet", "--allow-empty", "--message", "Unsigned")
    git(app, "tag", "v2")
    if is_signed:
        assert await text(tmp_path, "v2") == "no theme"
        return
    with pytest.raises(RefError) as caught:
        await text(tmp_path, "v2")
    assert str(caught.value).startswith(f"cannot lock the release: git+file://{app}?keytype=")
    assert "ignature verification" in str(caught.value)
