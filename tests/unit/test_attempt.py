"""An attempt, against an `ssh` on disk that answers as the runner would."""

import contextlib
import json
import re
import shlex
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path, PurePosixPath

import pytest

from components.pipeline import activate, attempt, runner
from components.pipeline.activate import State
from components.pipeline.activation_config import Activation, Mode
from components.pipeline.attempt import Absent, Attempt, new_id
from components.pipeline.attempt_spec import AttemptSpec
from components.pipeline.check import Vantage
from components.pipeline.errors import (
    ActivationError,
    FlakeupError,
    HostError,
    HostKeyError,
    ReplyError,
    UnreachableError,
)
from components.pipeline.grammar import Duration
from components.pipeline.transport import Identity, Ssh
from tests.unit.hosts import check, host, toplevel

OLD, NEW, OTHER = toplevel("a"), toplevel("b"), toplevel("c")
ID = "20260102T030405-0123abcd"
SSH = """\
#!/bin/sh
# Counts its calls, keeps what it was asked, and does what is written for this call.
cd "$(dirname "$0")" || exit
number=$(($(cat number) + 1))
echo "$number" >number
for last; do :; done
printf '%s' "$last" >"asked.$number"
cat >"stdin.$number"
[ -e "answer.$number" ] || number=last
. "./answer.$number"
"""


def line(event: str, **fields: object) -> str:
    return json.dumps({"schema": 1, "event": event} | fields)


STARTED = line("started", id=ID, old=OLD.path, new=NEW.path)
ABORTED = line("refused", reason="not awaiting a confirmation", state="activating")
NO_ROUTE = "echo 'ssh: connect to host 192.0.2.10 port 22: No route to host' >&2"


def result(state: str, **fields: object) -> str:
    """The last line of the attempt of these tests: the host runs NEW where it waits, or OLD."""
    current = NEW if state in activate.CONFIRMABLE else OLD
    own = {"id": ID, "state": state, "old": OLD.path, "new": NEW.path, "current": current.path}
    return line("result", **(own | fields))


WAITS = result("awaiting-confirm", offset="90")
SPEC = AttemptSpec(activation=Activation(), by="me@laptop (pid 7)", release="appRef v1")
IN_TWO_SECONDS = AttemptSpec(
    activation=Activation(
        timeout=Duration("0s"), check_deadline=Duration("0s"), confirm=Duration("2s")
    )
)


@dataclass
class Host:
    """What the fake answers, call by call, and what it was asked."""

    folder: Path

    def answers(self, *lines: str, code: int = 0, then: str = "") -> None:
        count = len(list(self.folder.glob("answer.[0-9]*")))
        text = "".join(f"cat <<'END'\n{one}\nEND\n" for one in lines)
        (self.folder / f"answer.{count + 1}").write_text(f"{text}{then}\nexit {code}\n")

    def always(self, script: str) -> None:
        (self.folder / "answer.last").write_text(script)

    def asked(self) -> list[list[str]]:
        """The words of each call."""
        texts = [(self.folder / f"asked.{n}").read_text() for n in range(1, self.calls + 1)]
        return [shlex.split(text) for text in texts]

    @property
    def verbs(self) -> list[list[str]]:
        """The words of each call after those that publish the runner."""
        return [words[words.index("flakeup") + 2 :] for words in self.asked()]

    def stdin(self, call: int) -> bytes:
        return (self.folder / f"stdin.{call}").read_bytes()

    @property
    def calls(self) -> int:
        return int((self.folder / "number").read_text())


@pytest.fixture
def web1(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "ssh").write_text(SSH)
    (folder / "ssh").chmod(0o755)
    (folder / "number").write_text("0")
    (folder / "answer.last").write_text("echo 'one call too many' >&2; exit 255\n")
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    monkeypatch.setattr(attempt, "PAUSE", 0.01)
    return Host(folder)


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def make(told: list[str]) -> Callable[..., Attempt]:
    def made(*, user: str = "root", spec: AttemptSpec = SPEC) -> Attempt:
        identity = Identity(known_hosts=PurePosixPath("known_hosts"), key=None)
        ssh = Ssh(host=host(user=user), identity=identity)
        return Attempt(ssh=ssh, old=OLD, new=NEW, spec=spec, progress=told.append, id=ID)

    return made


Make = Callable[..., Attempt]


async def failure(one: Attempt, kind: type[FlakeupError] = ActivationError) -> str:
    with pytest.raises(kind) as caught:
        await one.run()
    assert type(caught.value) is kind
    return str(caught.value)


# --- one connection ------------------------------------------------------------------------


async def test_start_to_awaiting_confirm(web1: Host, make: Make, told: list[str]) -> None:
    web1.answers(
        STARTED,
        line("state", state="activating", stage="", offset="0"),
        line("log", text="stopping the following units: app"),
        line("progress", state="activating", offset="34"),
        line("state", state="checking", stage="", offset="34"),
        line("state", state="checking", stage="2/3", offset="34"),
        line("state", state="awaiting-confirm", stage="2/3", offset="90"),
        WAITS,
    )
    assert await make().run() is State.AWAITING
    assert told == ["activating", "checking", "checking 2/3", "awaiting-confirm"]
    (words,) = web1.asked()
    assert words[:2] == ["/bin/sh", "-c"]
    assert words[3:] == [
        "flakeup", str(len(runner.text())), "start", ID, OLD.path, NEW.path,
    ]  # fmt: skip
    assert web1.stdin(1) == runner.text() + SPEC.text


async def test_as_a_user_with_sudo(web1: Host, make: Make) -> None:
    web1.answers(STARTED, WAITS)
    await make(user="deploy").run()
    assert web1.asked()[0][:5] == ["sudo", "-n", "--", "/bin/sh", "-c"]


@pytest.mark.parametrize("state", ["committing", "committed"])
async def test_a_host_that_is_further_is_fine(web1: Host, make: Make, state: str) -> None:
    web1.answers(line("attached", id="x-1"), result(state, id="x-1"))
    assert await make().run() is State(state)


async def test_unchanged_is_none(web1: Host, make: Make) -> None:
    web1.answers(line("unchanged", new=NEW.path))
    assert await make().run() is None


async def test_absent(web1: Host, make: Make) -> None:
    web1.answers(line("absent", new=NEW.path), code=11)
    with pytest.raises(Absent):
        await make().run()
    assert web1.calls == 1


async def test_after_absent_the_same_attempt_starts_again(web1: Host, make: Make) -> None:
    web1.answers(line("absent", new=NEW.path), code=11)
    web1.answers(STARTED, WAITS)
    one = make()
    with pytest.raises(Absent):
        await one.run()
    assert await one.run() is State.AWAITING
    assert web1.verbs == [["start", ID, OLD.path, NEW.path]] * 2
    assert web1.stdin(2) == runner.text() + SPEC.text


# --- over as many connections as it takes ---------------------------------------------------


async def test_a_broken_connection_is_opened_again_where_it_broke(
    web1: Host, make: Make, told: list[str]
) -> None:
    web1.answers(
        STARTED,
        line("state", state="activating", offset="10"),
        line("log", text="one"),
        line("progress", state="activating", offset="14"),
        then="echo 'Connection to 192.0.2.10 closed by remote host.' >&2",
        code=255,
    )
    web1.answers(then=NO_ROUTE, code=255)
    web1.answers(line("progress", state="activating", offset="4711"), code=10)
    web1.answers(line("state", state="awaiting-confirm", offset="4800"), WAITS)
    assert await make().run() is State.AWAITING
    assert web1.verbs[1:] == [
        ["follow", ID, "14"],
        ["follow", ID, "14"],
        ["follow", ID, "4711"],
    ]
    assert told == ["activating", "awaiting-confirm"]
    assert [web1.stdin(call) for call in (2, 3, 4)] == [runner.text()] * 3


@pytest.mark.parametrize(
    "trouble",
    [
        NO_ROUTE,
        "echo 'Host key verification failed.' >&2",
        "echo 'root@192.0.2.10: Permission denied (publickey).' >&2",
        "echo 'sudo: a password is required' >&2",
    ],
    ids=["away", "another key", "no login", "no sudo"],
)
async def test_once_started_no_transport_error_is_a_verdict(
    web1: Host, make: Make, trouble: str
) -> None:
    """NEW may have broken each of them; the way back mends it, and says what happened."""
    web1.answers(STARTED, code=255)
    for _ in range(5):
        web1.answers(then=trouble, code=255)
    web1.answers(result("rolled-back", exit="22", reason="nobody confirmed it in time"), code=22)
    text = await failure(make())
    assert text.startswith("not deployed: web1: nobody confirmed it in time (")
    assert text.endswith(f"it runs {OLD.path} now; mend the release and run `pulumi up` again")
    assert web1.calls == 7


async def test_an_attempt_under_way_is_followed_by_its_own_id(web1: Host, make: Make) -> None:
    web1.answers(line("attached", id="20260101T000000-other"), code=255)
    web1.answers(result("awaiting-confirm", id="20260101T000000-other"))
    await make().run()
    assert web1.verbs[1] == ["follow", "20260101T000000-other", "0"]


async def test_a_hostile_id_stays_one_word(web1: Host, make: Make) -> None:
    web1.answers(line("attached", id="x; reboot $(id)"), code=255)
    web1.answers(result("awaiting-confirm", id="x; reboot $(id)"))
    await make().run()
    assert web1.verbs[1] == ["follow", "x; reboot $(id)", "0"]


async def test_a_follow_that_says_nothing_is_asked_again(web1: Host, make: Make) -> None:
    web1.answers(STARTED)
    web1.answers()
    web1.answers(WAITS)
    assert await make().run() is State.AWAITING


# --- answers that are not in the protocol ---------------------------------------------------


@pytest.mark.parametrize(
    ("garbage", "why"),
    [
        ("\x1b[2Jnonsense", "not JSON: '\\x1b[2Jnonsense'"),
        ('["result"]', "not an event: '[\"result\"]'"),
        (line("result").replace("1", "2", 1), "a schema that this version does not know: "),
    ],
    ids=["not JSON", "no event", "future schema"],
)
async def test_garbage_amid_an_attempt_takes_it_back(
    web1: Host, make: Make, garbage: str, why: str
) -> None:
    web1.answers(STARTED, line("state", state="activating"), garbage, WAITS)
    web1.answers(ABORTED, code=31)
    text = await failure(make(), ReplyError)
    assert text.startswith(f"unusable reply: web1: {why}")
    assert text.endswith("the host counts as unconfirmed; look at what its login shell prints")
    assert web1.verbs[1:] == [["abort", ID, f"an unusable reply: {text}"]]
    assert web1.stdin(2) == runner.text()


async def test_garbage_in_a_later_call_too(web1: Host, make: Make) -> None:
    web1.answers(STARTED, code=255)
    web1.answers("Welcome!")
    web1.answers(ABORTED, code=31)
    assert "not JSON: 'Welcome!'" in await failure(make(), ReplyError)
    assert [words[0] for words in web1.verbs] == ["start", "follow", "abort"]


async def test_garbage_is_the_verdict_also_where_the_host_cannot_be_told(
    web1: Host, make: Make
) -> None:
    web1.answers(STARTED, "nonsense")
    web1.answers("more nonsense", code=255)
    assert "not JSON: 'nonsense'" in await failure(make(), ReplyError)
    assert web1.calls == 2


FOREIGN = "the host counts as unconfirmed; find out who else answers there"


@pytest.mark.parametrize(
    ("last", "detail"),
    [
        pytest.param(
            result("awaiting-confirm", id="20260101T000000-other"),
            f"it speaks of the attempt '20260101T000000-other', and not of {ID}",
            id="another attempt",
        ),
        pytest.param(
            result("awaiting-confirm", id=""),
            f"it speaks of the attempt '', and not of {ID}",
            id="no attempt",
        ),
        pytest.param(
            result("committed", new=OTHER.path, current=OTHER.path),
            f"it speaks of '{OTHER.path}', and not of {NEW.path}",
            id="another system",
        ),
        pytest.param(
            result("rolled-back", new="/etc/passwd"),
            f"it speaks of '/etc/passwd', and not of {NEW.path}",
            id="no system",
        ),
        pytest.param(
            result("awaiting-confirm", current=OLD.path),
            f"it waits to be confirmed, and runs '{OLD.path}'",
            id="waits, and runs OLD",
        ),
        pytest.param(
            result("committing", current=OTHER.path),
            f"it waits to be confirmed, and runs '{OTHER.path}'",
            id="commits, and runs another",
        ),
        pytest.param(
            result("committed", current=""),
            "it waits to be confirmed, and runs ''",
            id="committed, and runs nothing of ours",
        ),
    ],
)
async def test_an_answer_about_something_else_is_refused(
    web1: Host, make: Make, last: str, detail: str
) -> None:
    web1.answers(STARTED, last)
    web1.answers(ABORTED, code=31)
    text = await failure(make(), ReplyError)
    assert text == f"unusable reply: web1: {detail}. {FOREIGN}"
    assert web1.verbs[1:] == [["abort", ID, f"an unusable reply: {text}"]]


@pytest.mark.parametrize("state", ["awaiting-confirm", "committing", "committed"])
async def test_for_the_next_start_the_host_runs_what_it_ran(
    web1: Host, make: Make, state: str
) -> None:
    web1.answers(STARTED, result(state, current=OLD.path))
    boot = AttemptSpec(activation=Activation(mode=Mode.BOOT))
    assert await make(spec=boot).run() is State(state)


# --- verdicts: the texts are test_ending's ---------------------------------------------------


async def test_rolled_back(web1: Host, make: Make) -> None:
    web1.answers(
        STARTED,
        line("log", text="activating the configuration..."),
        line("state", state="rolling-back", offset="33"),
        line("journal", text="Starting A unit that fails..."),
        line("journal", text="cannot read its \x1b[31mconfiguration | table |"),
        result(
            "rolled-back",
            reason="unit broken.service failed",
            exit="21",
            units="broken.service ",
        ),
        code=21,
    )
    assert await failure(make()) == (
        "not deployed: web1: unit broken.service failed: rolled back to the system from before\n"
        "  Starting A unit that fails...\n"
        "  cannot read its \\x1b[31mconfiguration | table |\n"
        f"it runs {OLD.path} now; mend the release and run `pulumi up` again"
    )
    assert web1.calls == 1


async def test_no_more_than_twenty_lines_of_a_journal_are_shown(web1: Host, make: Make) -> None:
    web1.answers(
        STARTED,
        *(line("journal", text=f"line {number}") for number in range(1, 31)),
        result("rolled-back", reason="unit broken.service failed", exit="21"),
        code=21,
    )
    shown = (await failure(make())).splitlines()
    assert shown[1:-1] == [f"  line {number}" for number in range(11, 31)]


async def test_an_attempt_that_ends_twice_is_refused(web1: Host, make: Make) -> None:
    web1.answers(STARTED, result("rolled-back", exit="20"), WAITS)
    web1.answers(ABORTED)
    assert await failure(make(), ReplyError) == (
        "unusable reply: web1: it ends the attempt twice, with 'result' and 'result'."
        " the host counts as unconfirmed; find out who else answers there"
    )
    assert web1.verbs[1][0] == "abort"


async def test_what_had_failed_before_is_known_afterwards(web1: Host, make: Make) -> None:
    web1.answers(STARTED, result("awaiting-confirm", failedBefore="old.service"))
    one = make()
    await one.run()
    assert one.failed_before == "old.service"


# --- taking back -----------------------------------------------------------------------------


async def test_taking_back_waits_for_an_end(web1: Host, make: Make) -> None:
    """A commit that is under way, and a lock that somebody holds, are no ends."""
    web1.answers(line("refused", reason="not awaiting a confirmation", state="committing"), code=31)
    web1.answers(line("refused", reason="the lock of flakeup is held by another call"), code=75)
    web1.answers(line("progress", state="rolling-back", offset="0"), code=10)
    web1.answers(result("rolled-back", exit="24"), code=24)
    last = await make().take_back("why")
    assert last
    assert last.state is State.ROLLED_BACK
    assert web1.calls == 4


async def test_without_a_unit_to_blame_the_end_of_the_log_is_shown(web1: Host, make: Make) -> None:
    web1.answers(
        STARTED,
        *(line("log", text=f"line {number}") for number in range(1, 40)),
        result("rolled-back", reason="the activation ended with 2", exit="20"),
        code=20,
    )
    text = await failure(make())
    assert text.startswith(
        "not deployed: web1: the activation ended with 2: rolled back to the system from before\n"
        "  line 20\n"
    )
    assert text.endswith(
        f"  line 39\nit runs {OLD.path} now; mend the release and run `pulumi up` again"
    )


@pytest.mark.parametrize(
    ("last", "code", "expected"),
    [
        (result("blocked", reason="another lock"), 30, "refused: another lock. nothing was"),
        (result("rollback-failed", reason="why"), 50, "why: and the system from before could not"),
        (line("blocked", id=ID, reason="its own checks"), 30, "refused: its own checks. nothing"),
        (line("refused", reason="the lock"), 75, "refused: the lock. nothing was changed"),
        (line("held", id="x", by="ci"), 75, "it is being deployed by ci"),
        (line("drifted", current=OTHER.path), 31, f"it runs {OTHER.path}, and the last"),
        (line("died", state="activating"), 50, "the activation stopped in state activating"),
        (line("danced"), 0, "an answer that we do not know: danced"),
    ],
)
async def test_a_verdict_ends_it(
    web1: Host, make: Make, last: str, code: int, expected: str
) -> None:
    web1.answers(last, code=code)
    assert (await failure(make())).startswith(f"not deployed: web1: {expected}")
    assert web1.calls == 1


async def test_a_connection_that_broke_on_the_way_is_no_part_of_another_reason(
    web1: Host, make: Make
) -> None:
    web1.answers(STARTED, then=NO_ROUTE, code=255)
    web1.answers(result("rolled-back", exit="21", reason="check web: got 500"), code=21)
    assert await failure(make()) == (
        "not deployed: web1: check web: got 500: rolled back to the system from before."
        f" it runs {OLD.path} now; mend the release and run `pulumi up` again"
    )


# --- before the attempt has begun, a host that cannot be used is told soon ------------------


async def test_a_host_that_is_away_is_called_three_times(web1: Host, make: Make) -> None:
    web1.always(f"{NO_ROUTE}; exit 255\n")
    assert (await failure(make(), UnreachableError)).startswith("cannot reach the host: web1 (")
    assert web1.verbs == [["start", ID, OLD.path, NEW.path]] * 3


async def test_a_host_that_answers_the_third_time(web1: Host, make: Make) -> None:
    web1.answers(then=NO_ROUTE, code=255)
    web1.answers(then=NO_ROUTE, code=255)
    web1.answers(STARTED, WAITS)
    assert await make().run() is State.AWAITING
    assert web1.stdin(3) == runner.text() + SPEC.text


@pytest.mark.parametrize(
    ("said", "kind", "message"),
    [
        ("Host key verification failed.", HostKeyError, "host key is not the pinned one: web1"),
        ("Permission denied (publickey).", HostError, "the login was refused: web1"),
        ("sudo: a password is required", HostError, "sudo was refused: web1"),
    ],
)
async def test_a_wrong_key_or_a_refused_login_is_not_tried_again(
    web1: Host, make: Make, said: str, kind: type[HostError], message: str
) -> None:
    web1.answers(then=f"echo '{said}' >&2", code=255)
    assert (await failure(make(), kind)).startswith(message)
    assert web1.calls == 1


async def test_a_host_that_cannot_take_the_runner(web1: Host, make: Make) -> None:
    web1.answers(then="echo 'head: write error: No space left on device' >&2", code=1)
    assert "No space left on device" in await failure(make(), HostError)
    assert web1.calls == 1


async def test_a_login_shell_that_prints(web1: Host, make: Make) -> None:
    web1.answers("Welcome!", line("unchanged"))
    assert "not JSON: 'Welcome!'" in await failure(make(), ReplyError)
    assert web1.calls == 1


async def test_a_login_shell_that_runs_nothing(web1: Host, make: Make) -> None:
    web1.answers()
    assert await failure(make(), ReplyError) == (
        "no reply: web1: it printed nothing. log in by hand: does its login shell run commands?"
    )
    assert web1.calls == 1


# --- bounds -------------------------------------------------------------------------------


def test_the_bound_counts_all_that_the_host_may_take(make: Make) -> None:
    times = Activation(
        timeout=Duration("10s"), check_deadline=Duration("200s"), confirm=Duration("3000s")
    )
    assert make(spec=AttemptSpec(activation=times)).bound == 10 + 200 + 3000 + 10 + 30


SILENT = (
    "not deployed: web1: it has not said how the attempt ended within 2 s{}."
    " its own timer brings it back; when it answers again, run `pulumi up` again"
)


async def test_an_attempt_that_never_rests_is_bounded(
    web1: Host, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempt, "GRACE", 0.0)
    web1.answers(STARTED, line("progress", state="activating", offset="0"), code=10)
    web1.always(f"echo '{line('progress', state='activating', offset='0')}'; exit 10\n")
    began = time.monotonic()
    assert await failure(make(spec=IN_TWO_SECONDS)) == SILENT.format("")
    assert 1.9 < time.monotonic() - began < 30


async def test_a_host_that_stays_away_is_followed_until_the_bound(
    web1: Host, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempt, "GRACE", 0.0)
    web1.answers(STARTED, code=255)
    web1.always(f"{NO_ROUTE}; exit 255\n")
    began = time.monotonic()
    text = await failure(make(spec=IN_TWO_SECONDS))
    assert 1.9 < time.monotonic() - began < 30
    assert text.startswith(SILENT.split("{}", maxsplit=1)[0])
    assert "No route to host" in text


async def test_a_call_that_hangs_is_bounded(
    web1: Host, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempt, "CALL_TIMEOUT", 2.0)
    web1.answers(STARTED, line("state", state="activating", offset="5"), then="exec sleep 60")
    web1.answers(WAITS)
    assert await make().run() is State.AWAITING
    assert web1.verbs[1] == ["follow", ID, "5"]


async def test_a_log_without_end_does_not_fill_memory(web1: Host, make: Make) -> None:
    flood = f"yes '{line('log', text='x' * 200)}' | head -n 5000"
    web1.answers(STARTED, then=f"{flood}; echo '{WAITS}'")
    one = make()
    assert await one.run() is State.AWAITING
    assert len(one._log) == attempt.LOG_LINES


# --- checks from the deployer ---------------------------------------------------------------


class Answer(BaseHTTPRequestHandler):
    """A site; what it answers is `server.status`."""

    def do_GET(self) -> None:
        self.server.seen.append(self.path)  # type: ignore[attr-defined]
        self.send_response(self.server.status)  # type: ignore[attr-defined]
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Site(HTTPServer):
    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.status = 200
        self.seen: list[str] = []

    @property
    def spec(self) -> AttemptSpec:
        url = f"http://127.0.0.1:{self.server_port}/here"
        outside = check("outside", target=url, vantage=Vantage.DEPLOYER)
        on_host = check("inside", target=f"http://127.0.0.1:{self.server_port}/host")
        return AttemptSpec(activation=Activation(), checks=(on_host, outside))


@pytest.fixture
def site() -> Iterator[Site]:
    with Site() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


async def test_a_good_site_is_confirmed(
    web1: Host, make: Make, told: list[str], site: Site
) -> None:
    web1.answers(STARTED, line("state", state="awaiting-confirm"), WAITS)
    assert await make(spec=site.spec).run() is State.AWAITING
    assert site.seen == ["/here"]
    assert told == ["awaiting-confirm", "checking from outside"]
    assert web1.calls == 1


async def test_a_bad_site_takes_the_host_back(web1: Host, make: Make, site: Site) -> None:
    site.status = 500
    why = "check outside: expected status 200, got 500 (seen from the deployer)"
    web1.answers(STARTED, WAITS)
    web1.answers(result("rolled-back", exit="21", reason=why), code=21)
    assert await failure(make(spec=site.spec)) == (
        f"not deployed: web1: {why}: rolled back to the system from before."
        f" it runs {OLD.path} now; mend the release and run `pulumi up` again"
    )
    assert web1.verbs[1:] == [["abort", ID, why]]


async def test_a_bad_site_of_a_host_that_cannot_be_told(
    web1: Host, make: Make, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is called until it must have gone back by itself."""
    monkeypatch.setattr(attempt, "GRACE", 0)
    site.status = 500
    web1.answers(STARTED, WAITS)
    web1.always(f"{NO_ROUTE}; exit 255\n")
    times = Activation(confirm=Duration("6s"), timeout=Duration("1s"))
    assert await failure(make(spec=replace(site.spec, activation=times))) == (
        "not deployed: web1: check outside: expected status 200, got 500 (seen from the deployer)."
        " the host could not be told; its timer brings it back;"
        " mend the release and run `pulumi up` again"
    )
    assert web1.calls > 5


@pytest.mark.parametrize("confirm", ["6s", "1s"])
async def test_checks_from_outside_leave_time_to_commit(
    web1: Host, make: Make, confirm: str
) -> None:
    """5 s of the time to confirm are the commit's; the checks have 1 s in any case."""
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        target = f"http://127.0.0.1:{deaf.getsockname()[1]}/"
        outside = check("outside", target=target, vantage=Vantage.DEPLOYER)
        times = Activation(confirm=Duration(confirm))
        web1.answers(STARTED, WAITS)
        web1.answers(result("rolled-back", exit="21"), code=21)
        began = time.monotonic()
        await failure(make(spec=AttemptSpec(activation=times, checks=(outside,))))
    assert time.monotonic() - began >= 1
    assert web1.verbs[1][2].startswith("check outside: not good after 1 s")


@pytest.mark.parametrize(
    "last",
    [
        result("rolled-back", exit="20"),
        line("blocked", reason="why"),
        line("unchanged", new=NEW.path),
    ],
    ids=["rolled back", "blocked", "unchanged"],
)
async def test_a_host_that_does_not_wait_is_not_looked_at(
    web1: Host, make: Make, site: Site, last: str
) -> None:
    web1.answers(last)
    with contextlib.suppress(ActivationError):
        await make(spec=site.spec).run()
    assert site.seen == []
    assert web1.calls == 1


# --- the rest -----------------------------------------------------------------------------


async def test_a_line_without_end_is_a_verdict(web1: Host, make: Make) -> None:
    """Not a broken connection: what prints such a line is not the runner, and is not confirmed."""
    web1.answers(STARTED, then="head -c 1000000 /dev/zero | tr '\\0' x; echo")
    web1.answers(result("rolled-back", exit="21"), code=21)
    said = await failure(make(), ReplyError)
    assert said.startswith("unusable reply: web1: a line of more than 65536 bytes. the host counts")
    assert [words[0] for words in web1.verbs] == ["start", "abort"]


@pytest.mark.parametrize(
    "first",
    [
        line("started", id="20260102T030405-ffffffff", new=NEW.path),
        line("started", id=ID, new=OTHER.path),
        line("unchanged", new=OTHER.path),
    ],
    ids=["another attempt", "another system", "unchanged of another system"],
)
async def test_a_beginning_that_is_not_ours_is_refused(web1: Host, make: Make, first: str) -> None:
    web1.answers(first)
    web1.answers(result("rolled-back", exit="21"), code=21)
    assert "unusable reply: web1: it speaks of " in await failure(make(), ReplyError)


async def test_a_bad_check_on_a_host_that_has_committed_is_too_late(
    web1: Host, make: Make, site: Site
) -> None:
    site.status = 500
    web1.answers(STARTED, result("committed", current=NEW.path))
    assert await make(spec=site.spec).run() is State.COMMITTED
    assert site.seen == []


async def test_abort(web1: Host, make: Make) -> None:
    web1.answers(result("rolled-back", exit="21"), code=21)
    last = await make().abort("the commit could not be sent")
    assert last is not None
    assert (last.state, last.path("current")) == (State.ROLLED_BACK, OLD)
    assert web1.verbs == [["abort", ID, "the commit could not be sent"]]
    assert web1.stdin(1) == runner.text()


async def test_abort_of_a_host_that_is_away_is_the_timers_affair(web1: Host, make: Make) -> None:
    web1.always("exit 255\n")
    assert await make().abort("why") is None
    assert web1.calls == 1


def test_ids_sort_by_time_and_differ() -> None:
    early, late = (
        datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        datetime(2026, 1, 2, 3, 4, 6, tzinfo=UTC),
    )
    assert re.fullmatch(r"20260102T030405-[0-9a-f]{8}", new_id(early))
    assert new_id(early) < new_id(late)
    assert new_id(early) != new_id(early)
