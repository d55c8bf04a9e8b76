"""The URLs for git and nix of a flake and a commit."""

from collections.abc import Mapping

import pytest

from components.pipeline.errors import RefError
from components.pipeline.release.flake import Flake
from components.pipeline.release.git import Pin, RefKind, ls_remote
from components.pipeline.release.urls import git_remote, input_url, locked_url
from components.pipeline.values import FlakeUrl, Ref, Rev

REV = "0123456789abcdef0123456789abcdef01234567"
TAG = Pin(ref=Ref("v1"), kind=RefKind.TAG, rev=Rev(REV), full="refs/tags/v1")
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
                " give it a git+https:, git+ssh:, github: or gitlab: URL in flake.nix"
            ),
        ),
        (
            {"type": "indirect", "id": "nixpkgs"},
            (
                "nothing to pin: appRef: the flake's input app is of type indirect: it has no refs."
                " give it a git+https:, git+ssh:, github: or gitlab: URL in flake.nix"
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
