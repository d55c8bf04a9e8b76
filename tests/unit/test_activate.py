"""What is said to the runner, and what is believed of its answers."""

import json
import shlex
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from components.pipeline import activate
from components.pipeline.activate import Observation, Reply, State, parse
from components.pipeline.errors import ReplyError
from tests.unit.hosts import toplevel

OLD, NEW = toplevel("a"), toplevel("b")
ID = "20260102T030405-0123abcd"


def line(**fields: object) -> bytes:
    return json.dumps({"schema": 1, "event": "result"} | fields).encode() + b"\n"


def test_words() -> None:
    assert activate.start_words(ID, OLD, NEW, 600, "me@laptop (pid 7)") == (
        "start", ID, OLD.path, NEW.path, "600", "me@laptop (pid 7)",
    )  # fmt: skip
    assert activate.start_words(ID, None, NEW, 600, "me")[2] == "-"
    assert activate.follow_words(ID, 4096) == ("follow", ID, "4096")
    assert activate.observe_words() == ("/bin/sh", "-s", "--", "observe")


def test_publish() -> None:
    assert activate.publish("follow", ID, "0") == (
        "/bin/sh",
        "-c",
        ("umask 077; mkdir -p /run/flakeup && cat >/run/flakeup/switch.$$"
        " && chmod 0700 /run/flakeup/switch.$$"
        ' && mv -f /run/flakeup/switch.$$ /run/flakeup/switch && exec /run/flakeup/switch "$@"'),
        "flakeup", "follow", ID, "0",
    )  # fmt: skip


def test_publish_writes_and_runs_the_script(tmp_path: Path) -> None:
    """The text as it is, but for the folder: the script arrives whole, private, and is run."""
    words = activate.publish("follow", "it's $(id)", "")
    argv = [word.replace("/run/flakeup", f"{tmp_path}/run") for word in words]
    script = b'#!/bin/sh\nprintf "<%s>" "$@"\n' + b"# padding\n" * 10_000
    done = subprocess.run(argv, input=script, capture_output=True, check=False, timeout=10)
    assert (done.stdout, done.stderr) == (b"<follow><it's $(id)><>", b"")
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["switch"]
    assert (tmp_path / "run/switch").read_bytes() == script
    assert (tmp_path / "run/switch").stat().st_mode & 0o777 == 0o700


def test_the_runner_is_read_whole() -> None:
    script = activate.runner()
    assert script.startswith(b"#!/bin/sh\n")
    assert script.endswith(b'{ main "$@" </dev/null; exit; }\n')


@pytest.mark.parametrize(
    ("root", "text"),
    [
        (True, f"/run/flakeup/switch {NEW.path}"),
        (False, f"sudo -n /run/flakeup/switch {NEW.path}"),
    ],
)
def test_commit_text_names_one_path(root: bool, text: str) -> None:  # noqa: FBT001
    assert activate.commit_text(NEW, root=root) == text
    assert shlex.split(text)[-1] == NEW.path
    assert activate.committed_path(text) == NEW


@pytest.mark.parametrize("text", ["", "true", "/run/flakeup/switch", "x /nix/store/short", "\n"])
def test_other_texts_name_none(text: str) -> None:
    assert activate.committed_path(text) is None


# --- replies ------------------------------------------------------------------------------


def test_reply() -> None:
    reply = parse("web1", line(state="awaiting-confirm", new=NEW.path, offset="12", old=""))
    assert (reply.event, reply.state, reply.number("offset")) == ("result", State.AWAITING, 12)
    assert (reply.path("new"), reply.path("old"), reply.path("none")) == (NEW, None, None)
    assert reply["none"] == ""


REMEDY = "the host counts as unconfirmed; look at what its login shell prints"


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
            'a schema that this version does not know: \'{"schema":2,"event":"result"}\'',
            id="future schema",
        ),
        pytest.param(
            b'{"event":"result"}',
            'a schema that this version does not know: \'{"event":"result"}\'',
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


def test_control_characters_in_a_reply_come_out_escaped() -> None:
    raw = rb'{"schema":1,"event":"log","text":"\u001b[31mred\u0007\u009b2J\u202e","a\u001b":"x"}'
    reply = parse("web1", raw)
    assert reply["text"] == "\\x1b[31mred\\x07\\x9b2J\\u202e"
    assert set(reply.fields) == {"text", "a\\x1b"}


def test_a_log_line_of_other_bytes_is_no_reason_to_fail() -> None:
    """The runner cuts lines by bytes, and an activation prints what it likes."""
    assert parse("web1", b'{"schema":1,"event":"log","text":"\xe2\x97 \xe9"}')["text"] == "� �"


def test_store_paths_elsewhere_are_none() -> None:
    for path in ("/etc/passwd", f"{NEW.path}/../x", "/nix/store/" + "b" * 32, f" {NEW.path}"):
        assert parse("web1", line(current=path)).path("current") is None


def test_a_field_of_another_type_counts_as_absent() -> None:
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
def test_whatever_comes_is_a_reply_or_a_printable_error(raw: bytes) -> None:
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
    )


def test_observation_of_a_host_that_says_nothing() -> None:
    seen = Observation.of(Reply(event="observed", fields={}))
    assert (seen.current, seen.profile, seen.failed, seen.free_nix, seen.switching) == (
        None,
        None,
        (),
        0,
        False,
    )
