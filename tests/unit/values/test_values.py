"""Parsed values: none of them can be anything but one plain word to a shell.

What each refuses, and with which words, is in tests/data/config.
"""

import random
import re
import shlex
from collections.abc import Callable
from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from components.pipeline.values import (
    Attr,
    AttrPath,
    Duration,
    FlakeKind,
    FlakeUrl,
    HostAddress,
    HostKey,
    HostName,
    InputName,
    InvalidValue,
    Name,
    Port,
    PrivateKey,
    Ref,
    Rev,
    StorePath,
    UserName,
)

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAII37QsfaC6TZC04ULDxkqO8IB9/KJvwLWbiP2ORl634Q"
COMMIT = "8c1d6f0b7a2e94d35c60f1e2b8a97d4c3e5f6071"
FINGERPRINT = "SHA256:yNT5n8hdRjAknFoYsWMCuhr3b1QNQiKze9WJ3iJTfHY"
TOPLEVEL = "/nix/store/0c0v3yb7qxl9jhkzs2m5n6p8r4w1d2fa-nixos-system-web1-24.11"

WORDS: dict[str, tuple[Callable[[str], str], tuple[str, ...]]] = {
    "ref": (
        lambda text: Ref.parse(text).text,
        ("v2.1.0", "release/24.11", "refs/tags/v1", COMMIT, "app@1.2", "v1+b5", "_x"),
    ),
    "rev": (lambda text: Rev.parse(text).text, (COMMIT,)),
    "address": (
        lambda text: HostAddress.parse(text).text,
        ("web1.example.org", "web1", "192.0.2.1", "2001:db8::1", "::1"),
    ),
    "user": (lambda text: UserName.parse(text).text, ("root", "_deploy-2")),
    "port": (lambda text: str(Port.parse(text).number), ("1", "22", "65535")),
    "attr": (
        lambda text: Attr.parse(text).text,
        ("web1", "Web_1-x", "9", "web-1.example.com", "a@b+c"),
    ),
    "host": (lambda text: HostName.parse(text).text, ("web1", "web-1.example.com", "a@b+c")),
    "name": (lambda text: Name.parse(text).text, ("web1", "Web_1-x")),
    "input": (lambda text: InputName.parse(text).text, ("app",)),
    "store path": (lambda text: StorePath.parse(text).path, (TOPLEVEL,)),
    "time": (lambda text: Duration.parse(text).text, ("1s", "90m", "24h")),
    "host key": (lambda text: HostKey.parse(text).line.split(" ")[1], (KEY, f"{KEY} root@web1")),
    "flake": (
        lambda text: FlakeUrl.parse(text).text,
        (
            "./flake",
            ".?dir=nix",
            "../infra",
            "./.infra",
            "/srv/flake?dir=a/b",
            "git+ssh://git@git.example.org:2222/~ops/x.git?dir=nixos",
            "git+http://[::1]:8080/x.git",
            "git+file:///srv/x.git",
            "github:example/x",
            "gitlab:example/x?dir=nixos&host=gitlab.example.org",
            "gitlab:group%2Fsub/x",
            "github:example/x?host=github.example.org",
            "sourcehut:~example/x?host=git.example.org",
            "git+https://git.example.org/a%20team/x?submodules=1&verifyCommit=1&keytype=ssh-rsa",
            "git+ssh://APKAEXAMPLE@git.example.org/v1/repos/x?publicKey=AAAAC3NzaC1lZDI1NTE5AAAA==",
        ),
    ),
}
PRINTABLE_ASCII = re.compile(r"[!-~]+")


def assert_safe(word: str) -> None:
    assert not word.startswith("-")
    assert PRINTABLE_ASCII.fullmatch(word), "white space, control characters, homographs"
    assert shlex.split(shlex.join([word])) == [word]
    assert not re.search(r"[;|<>()$`\\\"'*{}!^,]", word), "shells and Nix make something of it"
    assert not word.startswith("#"), "a comment"


def check(kind: str, text: str) -> None:
    parse, _ = WORDS[kind]
    try:
        word = parse(text)
    except InvalidValue as error:
        refused = error
    else:
        assert_safe(word)
        return
    assert isinstance(refused, ValueError)
    assert str(refused).isprintable()


@pytest.mark.parametrize("kind", WORDS)
def test_valid_texts_are_accepted_and_safe(kind: str) -> None:
    parse, good = WORDS[kind]
    for text in good:
        assert_safe(parse(text))


@pytest.mark.parametrize("kind", WORDS)
@given(text=st.text())
@example("")
@example("\ud800")
@example("-")
def test_any_text_is_refused_or_safe(kind: str, text: str) -> None:
    check(kind, text)


@pytest.mark.parametrize("kind", WORDS)
@examples(max_examples=200)
@given(data=st.data())
def test_a_valid_text_with_an_insertion_is_refused_or_safe(kind: str, data: st.DataObject) -> None:
    """Random text is almost never accepted: this stays near the border."""
    _, good = WORDS[kind]
    text = data.draw(st.sampled_from(good))
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, min(len(text), start + 3)))
    piece = data.draw(st.text(max_size=2) | st.sampled_from(HOSTILE))
    check(kind, text[:start] + piece + text[end:])


HOSTILE = ("-", "--", "..", "//", "/", "?", "&", "=", "@", ":", "\n", "\0", "\x1b", "\u202e", "%2e")


@pytest.mark.parametrize("kind", WORDS)
def test_ten_thousand_texts_of_allowed_characters(kind: str) -> None:
    """No escape in what one gets by shuffling what is allowed; the seed is fixed."""
    draw = random.Random(kind)  # noqa: S311 repeatable, nothing secret
    _, good = WORDS[kind]
    alphabet = "".join(good) + "".join(HOSTILE) + "; $'\"\\`"
    for _ in range(10_000):
        check(kind, "".join(draw.choices(alphabet, k=draw.randint(0, 12))))


@given(text=st.text())
@example(f"-----BEGIN PRIVATE KEY-----\n{'A' * 64}\n-----END PRIVATE KEY-----")
@example("-----BEGIN OPENSSH PRIVATE KEY-----\n\n\n-----END OPENSSH PRIVATE KEY-----")
def test_a_private_key_is_refused_or_not_shown(text: str) -> None:
    try:
        key = PrivateKey.parse(text)
    except InvalidValue:
        return
    assert repr(key) == "PrivateKey()"


@pytest.mark.parametrize("text", WORDS["flake"][1])
def test_a_flake_url_round_trips(text: str) -> None:
    url = FlakeUrl.parse(text)
    assert FlakeUrl.parse(url.text) == url


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("./infra/flake/", FlakeUrl(kind=FlakeKind.FOLDER, base="infra/flake")),
        ("./flake?dir=x", FlakeUrl(kind=FlakeKind.FOLDER, base="flake", dir="x")),
        (".", FlakeUrl(kind=FlakeKind.FOLDER, base=".")),
        ("./?dir=./nix", FlakeUrl(kind=FlakeKind.FOLDER, base=".", dir="nix")),
        ("../../infra/", FlakeUrl(kind=FlakeKind.FOLDER, base="../../infra")),
        ("./.infra", FlakeUrl(kind=FlakeKind.FOLDER, base=".infra")),
        ("path:/srv/x", FlakeUrl(kind=FlakeKind.PATH, base="/srv/x")),
        (
            "git+https://git.example.org/x.git?dir=a/b/",
            FlakeUrl(kind=FlakeKind.GIT, base="git+https://git.example.org/x.git", dir="a/b"),
        ),
        ("github:o/r", FlakeUrl(kind=FlakeKind.GITHUB, base="github:o/r")),
        (
            "gitlab:o/r?host=10.0.0.5",
            FlakeUrl(kind=FlakeKind.GITLAB, base="gitlab:o/r", host=HostAddress("10.0.0.5")),
        ),
        ("gitlab:a%2fb%2Fc/r", FlakeUrl(kind=FlakeKind.GITLAB, base="gitlab:a%2Fb%2Fc/r")),
        ("sourcehut:~o/r", FlakeUrl(kind=FlakeKind.SOURCEHUT, base="sourcehut:~o/r")),
        (
            "git+file:///srv/x?shallow=1&lfs=0&dir=./a",
            FlakeUrl(
                kind=FlakeKind.GIT,
                base="git+file:///srv/x",
                dir="a",
                options=(("lfs", "0"), ("shallow", "1")),
            ),
        ),
    ],
)
def test_the_parts_of_a_flake_url(text: str, url: FlakeUrl) -> None:
    assert FlakeUrl.parse(text) == url


KEYS = '[{"type": "ssh-ed25519", "key": "AAAAC3NzaC1lZDI1NTE5AAAAIB0"}]'


def test_public_keys_of_a_verified_repository() -> None:
    url = FlakeUrl.parse(f"git+file:///srv/x?publicKeys={quote(KEYS)}")
    assert url.options == (("publicKeys", KEYS),)
    assert FlakeUrl.parse(url.text) == url


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("git+https://git.example.org/%2e%2e/x", "the path has a part"),
        ("git+https://git.example.org/a%2Fb", "the path has a part"),
        ("git+https://git.example.org/a%00b", "the path has a part"),
        ("git+https://git.example.org/%2Doption", "the path has a part"),
        ("git+https://git.example.org/%ff", "the path has a part"),
        ("git+https://git.example.org/100%", "the path has a part"),
        ("gitlab:a%2F%2Fb/x", "the group has an empty part"),
        ("gitlab:%2Fb/x", "the group has an empty part"),
        ("gitlab:a%2F../x", "the group has an empty part"),
        ("github:o%2Fp/r", "github: has a part"),
        ("git+file:///srv/x?submodules=yes", "submodules= is not 0 or 1"),
        ("git+file:///srv/x?keytype=-t", "keytype= is not"),
        ("git+file:///srv/x?publicKey=short", "publicKey= is not"),
        ("git+file:///srv/x?publicKeys=%5B1%5D", "publicKeys= is not"),
        ("git+file:///srv/x?publicKeys=%5B", "publicKeys= is not"),
        ("git+file:///srv/x?narHash=sha256-x", "has an option that does not go with it"),
        ("git+file:///srv/x?host=git.example.org", "has an option that does not go with it"),
        ("github:o/r?submodules=1", "has an option that does not go with it"),
        ("./flake?submodules=1", "has an option that does not go with it"),
    ],
)
def test_flake_urls_that_are_refused(text: str, why: str) -> None:
    with pytest.raises(InvalidValue) as caught:
        FlakeUrl.parse(text)
    assert caught.value.why.startswith(why)


def test_only_git_is_pinned_by_a_ref() -> None:
    assert [kind for kind in FlakeKind if not kind.is_pinned_by_ref] == ["folder", "path"]


@pytest.mark.parametrize(
    ("text", "commit"), [(COMMIT, True), (COMMIT[:-1], False), ("v1", False), ("f" * 41, False)]
)
def test_a_full_commit_id_is_not_a_name(text: str, *, commit: bool) -> None:
    assert Ref.parse(text).is_commit is commit


@pytest.mark.parametrize(
    ("text", "loopback"),
    [
        ("localhost", True),
        ("127.8.9.1", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("localhost.example.org", False),
        ("10.0.0.1", False),
    ],
)
def test_loopback(text: str, *, loopback: bool) -> None:
    assert HostAddress.parse(text).is_loopback is loopback


@pytest.mark.parametrize(("text", "seconds"), [("30s", 30), ("10m", 600), ("2h", 7200)])
def test_a_time_in_seconds(text: str, seconds: int) -> None:
    assert Duration.parse(text).seconds == seconds


def test_the_name_of_a_store_path() -> None:
    assert StorePath.parse(TOPLEVEL).name == "nixos-system-web1-24.11"


@pytest.mark.parametrize(
    "path",
    [
        TOPLEVEL + "/bin",
        TOPLEVEL + "\n",
        TOPLEVEL.replace("0c0v", "0e0v"),
        "/nix/store/x",
        TOPLEVEL.replace("/nix/store", "/etc"),
        "",
    ],
)
def test_invalid_store_paths(path: str) -> None:
    with pytest.raises(InvalidValue) as caught:
        StorePath.parse(path)
    assert str(caught.value) == "is not a store path: /nix/store/<32 characters>-<name>"


def test_the_fingerprint_is_the_one_that_ssh_keygen_shows() -> None:
    """Computed by `ssh-keygen -l` for the same key."""
    assert HostKey.parse(KEY).fingerprint == FINGERPRINT


@pytest.mark.parametrize(
    ("text", "parts", "canonical", "label"),
    [
        ("app-image", ("app-image",), "app-image", "app-image"),
        ("images.web", ("images", "web"), "images.web", "images/web"),
        ('images."web.1"', ("images", "web.1"), 'images."web.1"', 'images/"web.1"'),
        ('"web"."a@b+c"', ("web", "a@b+c"), "web.a@b+c", "web/a@b+c"),
        ('"app.web"', ("app.web",), '"app.web"', '"app.web"'),
    ],
)
def test_the_path_of_a_package_has_the_parts_that_nix_sees(
    text: str, parts: tuple[str, ...], canonical: str, label: str
) -> None:
    path = AttrPath.parse(text)
    assert tuple(part.text for part in path.parts) == parts
    assert (path.text, path.label) == (canonical, label)
    assert AttrPath.parse(path.text) == path


@given(text=st.text(alphabet='ab."@+-_$ {\n', max_size=12))
def test_a_path_is_refused_or_made_of_safe_names(text: str) -> None:
    try:
        path = AttrPath.parse(text)
    except InvalidValue:
        return
    for part in path.parts:
        assert_safe(part.text)
    assert AttrPath.parse(path.text) == path
