"""The URLs for git and nix of a flake and a commit."""

from collections.abc import Mapping
from dataclasses import replace

import pytest

from components.pipeline.errors import RefError
from components.pipeline.release.flake import Flake
from components.pipeline.release.git import Pin, RefKind, ls_remote
from components.pipeline.release.urls import git_remote, input_url, locked_url
from components.pipeline.values import FlakeUrl, Ref, Rev

REV = "0123456789abcdef0123456789abcdef01234567"
TAG = Pin(ref=Ref("v1"), kind=RefKind.TAG, rev=Rev(REV), full="refs/tags/v1")
BRANCH = replace(TAG, kind=RefKind.BRANCH, full="refs/heads/feature/#12-x")
COMMIT = Pin(ref=Ref(REV), kind=RefKind.COMMIT, rev=Rev(REV), full=None)


def flake(original: Mapping[str, object] | None = None) -> Flake:
    inputs: dict[str, Mapping[str, object]] = {"lib": {"type": "path", "path": "/srv/lib"}}
    if original is not None:
        inputs["app"] = original
    root = {"inputs": {name: name for name in inputs}}
    nodes = {name: {"original": what} for name, what in inputs.items()}
    locks = {"root": "root", "nodes": {"root": root, **nodes}}
    return Flake(url="path:/x", pin=None, dir="", nar_hash="sha256-x", tree=None, locks=locks)


@pytest.mark.parametrize(
    ("text", "remote"),
    [
        ("git+https://git.example.org/infra.git?dir=nix", "https://git.example.org/infra.git"),
        ("git+ssh://git@git.example.org:2222/infra", "ssh://git@git.example.org:2222/infra"),
        ("git+http://127.0.0.1:8000/infra", "http://127.0.0.1:8000/infra"),
        ("git+git://127.0.0.1:9418/infra", "git://127.0.0.1:9418/infra"),
        ("git+file:///srv/infra", "file:///srv/infra"),
        ("github:owner/repo?dir=nix", "https://github.com/owner/repo.git"),
        ("gitlab:owner/repo", "https://gitlab.com/owner/repo.git"),
        ("gitlab:owner/repo?host=git.example.org", "https://git.example.org/owner/repo.git"),
        ("gitlab:group%2Fsub/repo", "https://gitlab.com/group/sub/repo.git"),
        ("github:owner/repo?host=git.example.org", "https://git.example.org/owner/repo.git"),
        ("sourcehut:~owner/repo", "https://git.sr.ht/~owner/repo"),
        ("git+https://git.example.org/a%20team/_git/x", "https://git.example.org/a%20team/_git/x"),
        ("git+ssh://APKAEXAMPLE@git.example.org/x", "ssh://APKAEXAMPLE@git.example.org/x"),
        ("git+file:///srv/infra?submodules=1", "file:///srv/infra"),
    ],
)
def test_git_remote(text: str, remote: str) -> None:
    assert git_remote(FlakeUrl.parse(text)) == remote


@pytest.mark.parametrize(
    ("text", "pin", "url"),
    [
        (
            "git+https://git.example.org/infra.git",
            TAG,
            f"git+https://git.example.org/infra.git?ref=refs/tags/v1&rev={REV}",
        ),
        (
            "git+https://git.example.org/infra.git?dir=nix/prod",
            TAG,
            ("git+https://git.example.org/infra.git"
            f"?dir=nix/prod&ref=refs/tags/v1&rev={REV}"),
        ),
        (
            "git+ssh://git@git.example.org/infra",
            COMMIT,
            f"git+ssh://git@git.example.org/infra?allRefs=1&rev={REV}",
        ),
        ("git+git://127.0.0.1:9418/infra", COMMIT, f"git://127.0.0.1:9418/infra?allRefs=1&rev={REV}"),
        ("git+file:///srv/infra", COMMIT, f"git+file:///srv/infra?allRefs=1&rev={REV}"),
        ("github:owner/repo", TAG, f"github:owner/repo/{REV}"),
        ("github:owner/repo?dir=nix", TAG, f"github:owner/repo/{REV}?dir=nix"),
        (
            "gitlab:owner/repo?dir=nix&host=git.example.org",
            TAG,
            f"gitlab:owner/repo/{REV}?dir=nix&host=git.example.org",
        ),
        ("sourcehut:~owner/repo", TAG, f"sourcehut:~owner/repo/{REV}"),
        ("gitlab:group%2Fsub/repo", TAG, f"gitlab:group%2Fsub/repo/{REV}"),
        (
            "git+file:///srv/infra?submodules=1&shallow=1",
            TAG,
            f"git+file:///srv/infra?shallow=1&submodules=1&ref=refs/tags/v1&rev={REV}",
        ),
        (
            "git+file:///srv/infra?allRefs=1",
            TAG,
            f"git+file:///srv/infra?allRefs=1&rev={REV}",
        ),
        (
            "git+file:///srv/infra",
            BRANCH,
            f"git+file:///srv/infra?ref=refs/heads/feature/%2312-x&rev={REV}",
        ),
    ],
)  # fmt: skip
def test_locked_url(text: str, pin: Pin, url: str) -> None:
    assert locked_url(FlakeUrl.parse(text), pin) == url


@pytest.mark.parametrize(
    ("original", "text"),
    [
        (
            {"type": "git", "url": "https://git.example.org/app", "ref": "main"},
            "git+https://git.example.org/app",
        ),
        ({"type": "git", "url": "git://127.0.0.1:9418/app"}, "git+git://127.0.0.1:9418/app"),
        ({"type": "git", "url": "file:///srv/app", "dir": "x"}, "git+file:///srv/app?dir=x"),
        ({"type": "github", "owner": "o", "repo": "r", "ref": "v1"}, "github:o/r"),
        (
            {"type": "gitlab", "owner": "o", "repo": "r", "host": "git.example.org", "dir": "a"},
            "gitlab:o/r?dir=a&host=git.example.org",
        ),
        (
            {"type": "github", "owner": "o", "repo": "r", "host": "git.example.org"},
            "github:o/r?host=git.example.org",
        ),
        ({"type": "gitlab", "owner": "group%2Fsub", "repo": "r"}, "gitlab:group%2Fsub/r"),
        ({"type": "gitlab", "owner": "group/sub", "repo": "r"}, "gitlab:group%2Fsub/r"),
        ({"type": "sourcehut", "owner": "~o", "repo": "r"}, "sourcehut:~o/r"),
        (
            {"type": "git", "url": "file:///srv/app", "submodules": True, "lfs": False},
            "git+file:///srv/app?lfs=0&submodules=1",
        ),
        (
            {"type": "git", "url": "file:///srv/app", "shallow": True, "allRefs": True},
            "git+file:///srv/app?allRefs=1&shallow=1",
        ),
        (
            {"type": "git", "url": "file:///srv/app", "verifyCommit": True, "keytype": "ssh-rsa"},
            "git+file:///srv/app?keytype=ssh-rsa&verifyCommit=1",
        ),
    ],
)
def test_the_app_input_is_a_url(original: dict[str, str], text: str) -> None:
    assert input_url(flake(original), "app", Ref("v1")).text == text


@pytest.mark.parametrize(
    ("original", "message"),
    [
        (
            {"type": "path", "path": "/srv/app"},
            (
                "nothing to pin: appRef: the flake's input app is of type path: it has no refs."
                " give it a git+https:, git+ssh:, github:, gitlab: or sourcehut: URL in flake.nix"
            ),
        ),
        (
            {"type": "indirect", "id": "nixpkgs"},
            (
                "nothing to pin: appRef: the flake's input app is of type indirect: it has no refs."
                " give it a git+https:, git+ssh:, github:, gitlab: or sourcehut: URL in flake.nix"
            ),
        ),
        (
            {"type": "git", "url": "http://git.example.org/app"},
            (
                "unusable URL: the flake's input app: git+http://git.example.org/app git+http:"
                " carries the flake without any proof of where it comes from."
                " write git+https: or git+ssh:"
            ),
        ),
        (
            {"type": "git", "url": "file:///srv/app", "narHash": "sha256-x", "revCount": 3},
            (
                "unusable input: the flake's input app: flake.nix gives it narHash, revCount, which"
                " does not go with another commit. remove that from the input, or remove appRef"
            ),
        ),
        (
            {"type": "git", "url": "https://git.example.org/app?token=x"},
            (
                "unusable URL: the flake's input app: git+https://git.example.org/app?token=x has"
                " an option that does not go with it ('token'). it takes dir, submodules, lfs,"
                " shallow, exportIgnore, allRefs, verifyCommit, keytype, publicKey, publicKeys"
            ),
        ),
    ],
)
def test_app_inputs_that_cannot_be_pinned(original: dict[str, str], message: str) -> None:
    with pytest.raises(RefError) as caught:
        input_url(flake(original), "app", Ref("v1"))
    assert str(caught.value) == message


def test_a_ref_needs_an_input() -> None:
    with pytest.raises(RefError) as caught:
        input_url(flake(), "app", Ref("v1"))
    assert str(caught.value) == (
        "nothing to pin: appRef v1: the flake has no input app (its inputs: lib)."
        " set appInput to the one that holds the app, or remove appRef"
    )


def test_git_gets_refs_only_as_operands() -> None:
    assert ls_remote("https://git.example.org/x", "refs/tags/v1") == (
        "git", "ls-remote", "--quiet", "--", "https://git.example.org/x", "refs/tags/v1",
    )  # fmt: skip


def test_an_input_that_follows_another() -> None:
    nodes = {
        "root": {"inputs": {"bundle": "bundle", "app": ["bundle", "app"]}},
        "bundle": {"original": {"type": "git", "url": "file:///srv/bundle"}},
    }
    locks = {"root": "root", "nodes": nodes}
    one = Flake(url="path:/x", pin=None, dir="", nar_hash="sha256-x", tree=None, locks=locks)
    with pytest.raises(RefError) as caught:
        input_url(one, "app", Ref("v1"))
    assert str(caught.value) == (
        "nothing to pin: appRef v1: the flake's input app follows bundle/app."
        " give app a URL of its own in flake.nix, or set appInput to what it follows"
    )
