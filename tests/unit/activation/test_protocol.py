"""The arguments for the runner, and the parsing of its replies."""

import hashlib
import json
import os
import shlex
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from components.pipeline.activation import protocol, runner
from components.pipeline.activation.protocol import Observation, Reply, State, parse
from components.pipeline.errors import ReplyError
from components.pipeline.values import StorePath
from tests.unit.hosts import toplevel

OLD, NEW = toplevel("a"), toplevel("b")
ID = "20260102T030405-0123abcd"


def line(**fields: object) -> bytes:
    return json.dumps({"schema": 1, "event": "result"} | fields).encode() + b"\n"


def test_argv_of_the_verbs() -> None:
    assert protocol.start_argv(ID, OLD, NEW) == ("start", ID, OLD.path, NEW.path)
    assert protocol.start_argv(ID, None, NEW)[2] == "-"
    assert protocol.follow_argv(ID, 4096) == ("follow", ID, "4096")
    assert protocol.abort_argv(ID, "status 500") == ("abort", ID, "status 500")
    assert protocol.observe_argv() == ("/bin/sh", "-s", "--", "observe")


@examples(max_examples=200, deadline=None)
@given(st.text())
def test_a_reason_is_one_short_printable_argument(why: str) -> None:
    word = protocol.abort_argv(ID, why)[2]
    assert word.isprintable()
    assert len(word) <= 900


# --- publish: the real command, except for the folder --------------------------------------


@dataclass
class Published:
    """A folder in place of /run/flakeup, and a runner that prints its arguments."""

    folder: Path
    script: bytes

    def __call__(self, stdin: bytes, *words: str) -> subprocess.CompletedProcess[bytes]:
        argv = [
            word.replace("/run/flakeup", str(self.folder)) for word in protocol.publish_argv(*words)
        ]
        return subprocess.run(argv, input=stdin, capture_output=True, check=False, timeout=10)

    @property
    def names(self) -> list[str]:
        return sorted(path.name for path in self.folder.iterdir())


@pytest.fixture
def publish(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Published:
    script = b'#!/bin/sh\nprintf "<%s>" "$@"; cat\n' + b"# padding\n" * 10_000
    monkeypatch.setattr(runner, "text", lambda: script)
    return Published(tmp_path / "run", script)


def test_publish_passes_the_length_of_the_runner() -> None:
    words = protocol.publish_argv("follow", ID, "0")
    assert words[:2] == ("/bin/sh", "-c")
    text = runner.text()
    name = f"runner-{hashlib.sha256(text).hexdigest()[:16]}"
    assert words[3:] == ("flakeup", str(len(text)), name, "follow", ID, "0")


def test_publish_writes_and_runs_the_script(publish: Published) -> None:
    done = publish(publish.script, "follow", "it's $(id)", "")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"<follow><it's $(id)><>", b"")
    name = protocol.runner_name(publish.script)
    assert publish.names == [name, "switch"]
    assert (publish.folder / name).read_bytes() == publish.script
    assert (publish.folder / name).stat().st_mode & 0o777 == 0o700
    assert (publish.folder / "switch").readlink() == Path(name)
    assert publish.folder.stat().st_mode & 0o777 == 0o700


def test_the_rest_of_stdin_is_for_the_verb(publish: Published) -> None:
    done = publish(publish.script + b"timeout 600\nby me\n", "start")
    assert done.stdout == b"<start>timeout 600\nby me\n"
    assert (publish.folder / "switch").read_bytes() == publish.script


@pytest.mark.parametrize("missing", [1, 5_000, None], ids=["one byte", "a part", "all"])
def test_publish_refuses_a_truncated_runner(publish: Published, missing: int | None) -> None:
    """A broken connection truncates stdin: the previous runner stays, and nothing runs."""
    publish.folder.mkdir()
    (publish.folder / "switch").write_bytes(b"the one before")
    short = b"" if missing is None else publish.script[:-missing]
    done = publish(short, "start")
    assert done.returncode != 0
    assert done.stdout == b""
    assert (publish.folder / "switch").read_bytes() == b"the one before"


def test_publish_does_not_execute_the_file(
    publish: Published, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hardened hosts mount /run noexec: here no kernel could run the file itself."""
    script = publish.script.replace(b"#!/bin/sh", b"#!/absent")
    monkeypatch.setattr(runner, "text", lambda: script)
    assert publish(script, "follow").stdout == b"<follow>"


def test_another_version_does_not_replace_a_published_runner(
    publish: Published, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(publish.script, "follow")
    first = publish.folder / protocol.runner_name(publish.script)
    before = first.stat()
    other = publish.script + b"# another version\n"
    monkeypatch.setattr(runner, "text", lambda: other)
    assert publish(other, "follow").stdout == b"<follow>"
    assert first.stat() == before
    assert (publish.folder / "switch").read_bytes() == other


def test_publish_replaces_the_file_of_an_earlier_version(publish: Published) -> None:
    """Earlier versions wrote the runner itself to `switch`."""
    publish.folder.mkdir()
    (publish.folder / "switch").write_bytes(b"the one before")
    assert publish(publish.script, "follow").returncode == 0
    assert (publish.folder / "switch").is_symlink()


def test_publish_runs_nothing_without_a_previous_runner(publish: Published) -> None:
    assert publish(publish.script[:-1], "start").returncode != 0
    assert "switch" not in publish.names


def test_a_truncated_runner_runs_nothing() -> None:
    """Its last line runs it, so a truncated script runs nothing."""
    script = runner.text()
    assert script.startswith(b"#!/bin/sh\n")
    last = (
        b'{\n    case ${1:-} in start) main "$@" ;; *) main "$@" </dev/null ;; esac\n    exit\n}\n'
    )
    assert script.endswith(last)
    assert script.count(b'main "$@"') == 2


@pytest.mark.parametrize(
    ("root", "text"),
    [
        (True, f"/bin/sh /run/flakeup/switch {NEW.path}"),
        (False, f"sudo -n /bin/sh /run/flakeup/switch {NEW.path}"),
    ],
)
def test_commit_text_names_one_path(root: bool, text: str) -> None:  # noqa: FBT001
    assert protocol.commit_command(NEW, root=root) == text
    assert shlex.split(text)[-1] == NEW.path
    assert protocol.committed_path(text) == NEW


@pytest.mark.parametrize("before", ["/run/flakeup/switch", "sudo -n /run/flakeup/switch"])
def test_the_commit_of_an_earlier_version_is_read(before: str) -> None:
    assert protocol.committed_path(f"{before} {NEW.path}") == NEW


def test_the_commit_of_a_client_on_this_machine_is_read() -> None:
    remote = shlex.join(("sudo", "-n", "--", *protocol.commit_argv(NEW)))
    assert protocol.committed_path(f"exec {shlex.join(('ssh', 'web1', remote))}") == NEW


@pytest.mark.parametrize("text", ["", "true", "/run/flakeup/switch", "x /nix/store/short", "\n"])
def test_other_texts_have_no_store_path(text: str) -> None:
    assert protocol.committed_path(text) is None


# --- hanging up: the real command, on processes of this test ---------------------------------


def started(argv: list[str]) -> "subprocess.Popen[bytes]":
    """Start a process without a terminal, as sshd does."""
    return subprocess.Popen(argv, stdin=subprocess.PIPE, start_new_session=True)


def test_only_the_commit_is_hung_up_on() -> None:
    new = StorePath.parse(f"/nix/store/{'h' * 32}-nixos-system-{os.getpid()}")
    commit = ["sh", "-c", f"read x; : {protocol.commit_command(new, root=False)}"]
    other = ["sh", "-c", f"read x; : /run/flakeup/switch other; : {new.path}"]
    with started(commit) as hung, started(other) as left:
        try:
            subprocess.run(protocol.hang_up_argv(new), check=True, timeout=30)
            assert hung.wait(timeout=10) == -signal.SIGKILL
            assert left.poll() is None
        finally:
            hung.kill()
            left.kill()


# --- replies ------------------------------------------------------------------------------


def test_reply() -> None:
    reply = parse("web1", line(state="awaiting-confirm", new=NEW.path, offset="12", old=""))
    assert (reply.event, reply.state, reply.number("offset")) == ("result", State.AWAITING, 12)
    assert (reply.path("new"), reply.path("old"), reply.path("none")) == (NEW, None, None)
    assert reply["none"] == ""


REMEDY = "the host is not confirmed; check what its login shell prints"


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        pytest.param(b"Welcome to web1!\n", "not JSON: 'Welcome to web1!'", id="not JSON"),
        pytest.param(b"", "not JSON: ''", id="nothing"),
        pytest.param(
            line() + line(),
            'not JSON: \'{"schema": 1, "event": "result"}\\n{"schema": 1, "event": "r…\'',
            id="two lines",
        ),
        pytest.param(
            b'{"schema":1,"event":"log","text":"' + b"x" * (1 << 20) + b'"}\n',
            "a line of more than 65536 bytes: "
            '\'{"schema":1,"event":"log","text":"xxxxxxxxxxxxxxxxxxxxxxxxx…\'',
            id="1 MB",
        ),
        pytest.param(b"[1]\n", "not an event: '[1]'", id="no object"),
        pytest.param(b'{"schema":1}\n', "not an event: '{\"schema\":1}'", id="no event"),
        pytest.param(
            b'{"schema":1,"event":["x"]}',
            'not an event: \'{"schema":1,"event":["x"]}\'',
            id="event of another type",
        ),
        pytest.param(
            b'{"schema":2,"event":"result"}',
            'unknown schema: \'{"schema":2,"event":"result"}\'',
            id="future schema",
        ),
        pytest.param(
            b'{"event":"result"}',
            'unknown schema: \'{"event":"result"}\'',
            id="no schema",
        ),
        pytest.param(
            b"\x1b[2J\x07\x00{", "not JSON: '\\x1b[2J\\x07\\x00{'", id="control characters"
        ),
        pytest.param(b"[" * 60_000, f"not JSON: '{'[' * 59}…'", id="deep"),
        pytest.param(b"\xff\xfe{\x00}\x00", None, id="UTF-16"),
    ],
)
def test_hostile_replies_are_refused(raw: bytes, why: str | None) -> None:
    with pytest.raises(ReplyError) as caught:
        parse("web1", raw)
    assert str(caught.value).startswith("unusable reply: web1: ")
    assert str(caught.value).isprintable()
    if why is not None:
        assert str(caught.value) == f"unusable reply: web1: {why}. {REMEDY}"


def test_control_characters_in_a_reply_are_escaped() -> None:
    raw = rb'{"schema":1,"event":"log","text":"\u001b[31mred\u0007\u009b2J\u202e","a\u001b":"x"}'
    reply = parse("web1", raw)
    assert reply["text"] == "\\x1b[31mred\\x07\\x9b2J\\u202e"
    assert set(reply.fields) == {"text", "a\\x1b"}


def test_a_log_line_may_contain_any_bytes() -> None:
    """The runner cuts lines by bytes, and an activation may print anything."""
    assert parse("web1", b'{"schema":1,"event":"log","text":"\xe2\x97 \xe9"}')["text"] == "� �"


def test_store_paths_elsewhere_are_none() -> None:
    for path in ("/etc/passwd", f"{NEW.path}/../x", "/nix/store/" + "b" * 32, f" {NEW.path}"):
        assert parse("web1", line(current=path)).path("current") is None


def test_a_field_that_is_not_text_is_ignored() -> None:
    reply = parse("web1", line(state=["committed"], offset=3, new={"path": NEW.path}, old=None))
    assert (reply.state, reply.number("offset"), reply.path("new"), reply["old"]) == (
        None,
        0,
        None,
        "",
    )


@pytest.mark.parametrize("text", ["", "-1", "1e3", "٣", "²", " 7", "0x10", "1_0"])
def test_numbers_are_digits(text: str) -> None:
    assert parse("web1", line(offset=text)).number("offset") == 0


def test_an_unknown_state_is_none() -> None:
    assert parse("web1", line(state="COMMITTED")).state is None


def test_an_event_with_control_characters_is_printable() -> None:
    assert parse("web1", rb'{"schema":1,"event":"\u001b[2J"}').event == "\\x1b[2J"


@examples(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.binary(max_size=200) | st.text(max_size=100).map(str.encode))
def test_any_bytes_give_a_reply_or_a_printable_error(raw: bytes) -> None:
    try:
        reply = parse("web1", raw)
    except ReplyError as error:
        assert str(error).isprintable()  # noqa: PT017 either way is fine
    else:
        assert reply.event.isprintable()


def test_observation() -> None:
    raw = line(
        event="observed",
        bootId="b-1",
        arch="x86_64",
        current=NEW.path,
        profile=OLD.path,
        failed="a.service b.service ",
        freeNix="1000",
        switching="yes",
        attempt=ID,
        attemptNew=NEW.path,
        committedFrom=OLD.path,
        committedBy="acme/flakeup/prod",
    )
    assert Observation.of(parse("web1", raw)) == Observation(
        current=NEW,
        profile=OLD,
        boot_id="b-1",
        arch="x86_64",
        failed=("a.service", "b.service"),
        free_nix=1000,
        attempt=ID,
        attempt_new=NEW,
        switching=True,
        committed_from=OLD,
        committed_by="acme/flakeup/prod",
    )


def test_observation_without_fields() -> None:
    seen = Observation.of(Reply(event="observed", fields={}))
    assert (seen.current, seen.profile, seen.failed, seen.free_nix, seen.switching) == (
        None,
        None,
        (),
        0,
        False,
    )
