"""An attempt, against an `ssh` on disk that answers as the runner would."""

import json
import re
import shlex
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

import pytest

from components.pipeline import activate, attempt
from components.pipeline.activate import State
from components.pipeline.attempt import Absent, Attempt, abort, new_id
from components.pipeline.errors import (
    ActivationError,
    FlakeupError,
    HostKeyError,
    ReplyError,
    UnreachableError,
)
from components.pipeline.transport import Identity, Ssh
from tests.unit.hosts import host, toplevel

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
        """The words of each call after those that publish the runner."""
        texts = [(self.folder / f"asked.{n}").read_text() for n in range(1, self.calls + 1)]
        return [shlex.split(text) for text in texts]

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
    def made(*, user: str = "root", timeout: str = "10m") -> Attempt:
        identity = Identity(known_hosts=PurePosixPath("known_hosts"), key=None)
        ssh = Ssh(host=host(user=user, timeout=timeout), identity=identity)
        return Attempt(
            ssh=ssh, old=OLD, new=NEW, by="me@laptop (pid 7)", progress=told.append, id=ID
        )

    return made


Make = Callable[..., Attempt]
WAITS = line("result", id=ID, state="awaiting-confirm", old=OLD.path, new=NEW.path, offset="90")


async def failure(one: Attempt, kind: type[FlakeupError] = ActivationError) -> str:
    with pytest.raises(kind) as caught:
        await one.run()
    assert type(caught.value) is kind
    return str(caught.value)


async def test_start_to_awaiting_confirm(web1: Host, make: Make, told: list[str]) -> None:
    web1.answers(
        STARTED,
        line("state", state="activating", offset="0"),
        line("log", text="stopping the following units: app"),
        line("progress", state="activating", offset="34"),
        line("state", state="awaiting-confirm", offset="90"),
        WAITS,
    )
    assert await make().run() is State.AWAITING
    assert told == ["activating", "awaiting-confirm"]
    (words,) = web1.asked()
    assert words[:2] == ["/bin/sh", "-c"]
    assert words[3:] == [
        "flakeup", "start", ID, OLD.path, NEW.path, "600", "me@laptop (pid 7)",
    ]  # fmt: skip
    assert (web1.folder / "stdin.1").read_bytes() == activate.runner()


async def test_as_a_user_with_sudo(web1: Host, make: Make) -> None:
    web1.answers(STARTED, WAITS)
    await make(user="deploy").run()
    assert web1.asked()[0][:5] == ["sudo", "-n", "--", "/bin/sh", "-c"]


@pytest.mark.parametrize("state", ["committing", "committed"])
async def test_a_host_that_is_further_is_fine(web1: Host, make: Make, state: str) -> None:
    web1.answers(line("attached", id="x-1"), line("result", state=state))
    assert await make().run() is State(state)


async def test_unchanged_is_none(web1: Host, make: Make) -> None:
    web1.answers(line("unchanged", new=NEW.path))
    assert await make().run() is None


async def test_absent(web1: Host, make: Make) -> None:
    web1.answers(line("absent", new=NEW.path), code=11)
    with pytest.raises(Absent):
        await make().run()


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
    web1.answers(then="echo 'ssh: connect to host 192.0.2.10: No route to host' >&2", code=255)
    web1.answers(line("progress", state="activating", offset="4711"), code=10)
    web1.answers(line("state", state="awaiting-confirm", offset="4800"), WAITS)
    assert await make().run() is State.AWAITING
    assert [words[4:] for words in web1.asked()[1:]] == [
        ["follow", ID, "14"],
        ["follow", ID, "14"],
        ["follow", ID, "4711"],
    ]
    assert told == ["activating", "awaiting-confirm"]


async def test_an_attempt_under_way_is_followed_by_its_own_id(web1: Host, make: Make) -> None:
    web1.answers(line("attached", id="20260101T000000-other"), code=255)
    web1.answers(WAITS)
    await make().run()
    assert web1.asked()[1][4:] == ["follow", "20260101T000000-other", "0"]


async def test_a_hostile_id_stays_one_word(web1: Host, make: Make) -> None:
    web1.answers(line("attached", id="x; reboot $(id)"), code=255)
    web1.answers(WAITS)
    await make().run()
    assert web1.asked()[1][4:] == ["follow", "x; reboot $(id)", "0"]


async def test_garbage_amid_an_attempt_is_no_verdict(web1: Host, make: Make) -> None:
    web1.answers(STARTED, "\x1b[2Jnonsense")
    web1.answers(WAITS)
    assert await make().run() is State.AWAITING


async def test_rolled_back(web1: Host, make: Make) -> None:
    web1.answers(
        STARTED,
        line("log", text="activating the configuration..."),
        line("state", state="rolling-back", offset="33"),
        line(
            "result",
            id=ID,
            state="rolled-back",
            old=OLD.path,
            new=NEW.path,
            current=OLD.path,
            code="4",
            units="broken.service ",
            journal="Starting A unit that fails...|cannot read its \x1b[31mconfiguration|",
        ),
        code=20,
    )
    assert await failure(make()) == (
        "not deployed: web1: unit broken.service failed: rolled back to the system from before\n"
        "  Starting A unit that fails...\n"
        "  cannot read its \\x1b[31mconfiguration\n"
        f"it runs {OLD.path} now; mend the release and run `pulumi up` again"
    )


async def test_rolled_back_without_a_unit_to_blame_shows_the_end_of_the_log(
    web1: Host, make: Make
) -> None:
    web1.answers(
        STARTED,
        *(line("log", text=f"line {number}") for number in range(1, 40)),
        line("result", state="rolled-back", current=OLD.path, code="2", units="", journal=""),
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


async def test_rollback_failed(web1: Host, make: Make) -> None:
    result = line("result", state="rollback-failed", current=NEW.path, code="137")
    web1.answers(STARTED, result, code=50)
    assert await failure(make()) == (
        "not deployed: web1: the activation ended with 137:"
        " and the system from before could not be activated either."
        f" it runs {NEW.path} now; mend the release and run `pulumi up` again"
    )


async def test_a_release_that_needs_a_reboot(web1: Host, make: Make) -> None:
    web1.answers(STARTED, line("result", state="blocked", current=OLD.path, code="100"), code=30)
    assert await failure(make()) == (
        "not deployed: web1: the activation ended with 100: refused."
        " the init interface changed: this release needs a reboot; nothing was changed"
    )


@pytest.mark.parametrize(
    ("last", "code", "expected"),
    [
        (
            line("held", id="x", new=OTHER.path, by="ci@runner (pid 1)", state="activating"),
            75,
            (
                f"it is being deployed by ci@runner (pid 1) (activating, to {OTHER.path})."
                " wait for its end, then run `pulumi up` again"
            ),
        ),
        (
            line("held", by="another switch-to-configuration", new=""),
            75,
            (
                "it is being deployed by another switch-to-configuration."
                " wait for its end, then run `pulumi up` again"
            ),
        ),
        (
            line("drifted", current=OTHER.path, old=OLD.path, new=NEW.path),
            31,
            (
                f"it runs {OTHER.path}, and the last deployment was {OLD.path}."
                " to bring it to this release all the same, `pulumi up --replace` web1-switch"
                " (the URN is in the preview)"
            ),
        ),
        (
            line("blocked", reason="its own checks refuse: Pre-switch checks failed "),
            30,
            "refused: its own checks refuse: Pre-switch checks failed. nothing was changed",
        ),
        (
            line("refused", reason="the lock of flakeup is held for more than 20 s"),
            75,
            "refused: the lock of flakeup is held for more than 20 s. nothing was changed",
        ),
        (
            line("died", state="activating", current=NEW.path),
            50,
            (
                "the activation stopped in state activating."
                f" the host runs {NEW.path}; run `pulumi up` again"
            ),
        ),
        (
            line("danced"),
            0,
            "an answer that we do not know: danced. update flakeup",
        ),
    ],
)
async def test_verdicts(web1: Host, make: Make, last: str, code: int, expected: str) -> None:
    web1.answers(last, code=code)
    assert await failure(make()) == f"not deployed: web1: {expected}"
    assert web1.calls == 1


# --- before the attempt has begun, a host that cannot be used is told at once ---------------


async def test_unreachable(web1: Host, make: Make) -> None:
    web1.answers(
        then="echo 'ssh: connect to host 192.0.2.10 port 22: Connection refused' >&2", code=255
    )
    assert (await failure(make(), UnreachableError)).startswith("cannot reach the host: web1 (")
    assert web1.calls == 1


async def test_a_wrong_key(web1: Host, make: Make) -> None:
    web1.answers(then="echo 'Host key verification failed.' >&2", code=255)
    assert "host key is not the pinned one" in await failure(make(), HostKeyError)
    assert web1.calls == 1


async def test_a_login_shell_that_prints(web1: Host, make: Make) -> None:
    web1.answers("Welcome!", line("unchanged"))
    assert "not JSON: 'Welcome!'" in await failure(make(), ReplyError)


async def test_a_login_shell_that_runs_nothing(web1: Host, make: Make) -> None:
    web1.answers()
    assert await failure(make(), ReplyError) == (
        "no reply: web1: it printed nothing. log in by hand: does its login shell run commands?"
    )
    assert web1.calls == 1


# --- bounds -------------------------------------------------------------------------------


async def test_an_attempt_that_never_rests_is_bounded(
    web1: Host, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempt, "GRACE", -1.0)
    web1.answers(STARTED, line("progress", state="activating", offset="0"), code=10)
    web1.always(f"echo '{line('progress', state='activating', offset='0')}'; exit 10\n")
    began = time.monotonic()
    assert await failure(make(timeout="1s")) == (
        "not deployed: web1: no end in time. look at /var/lib/flakeup/current on the host"
    )
    assert 0.9 < time.monotonic() - began < 3


async def test_a_host_that_stays_away_is_bounded(
    web1: Host, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempt, "GRACE", -1.0)
    web1.answers(STARTED, code=255)
    web1.always("echo 'ssh: connect to host x: No route to host' >&2; exit 255\n")
    began = time.monotonic()
    assert "No route to host" in await failure(make(timeout="1s"), UnreachableError)
    assert 0.9 < time.monotonic() - began < 3


async def test_a_call_that_hangs_is_bounded(
    web1: Host, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempt, "CALL_TIMEOUT", 0.3)
    web1.answers(STARTED, line("state", state="activating", offset="5"), then="exec sleep 60")
    web1.answers(WAITS)
    assert await make().run() is State.AWAITING
    assert web1.asked()[1][4:] == ["follow", ID, "5"]


async def test_a_log_without_end_does_not_fill_memory(web1: Host, make: Make) -> None:
    flood = f"yes '{line('log', text='x' * 200)}' | head -n 20000"
    web1.answers(STARTED, then=f"{flood}; echo '{WAITS}'")
    one = make()
    assert await one.run() is State.AWAITING
    assert len(one._log) == attempt.LOG_LINES


# --- the rest -----------------------------------------------------------------------------


async def test_abort(web1: Host, make: Make) -> None:
    web1.answers(line("aborted", state="rolled-back", current=OLD.path), code=20)
    await abort(make(), "the check from outside failed: http 500")
    assert web1.asked() == [
        ["/run/flakeup/switch", "abort", ID, "the check from outside failed: http 500"]
    ]


async def test_abort_of_a_host_that_is_away_is_the_timers_affair(web1: Host, make: Make) -> None:
    web1.always("exit 255\n")
    await abort(make(), "why")
    assert web1.calls == 1


def test_ids_sort_by_time_and_differ() -> None:
    early, late = (
        datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        datetime(2026, 1, 2, 3, 4, 6, tzinfo=UTC),
    )
    assert re.fullmatch(r"20260102T030405-[0-9a-f]{8}", new_id(early))
    assert new_id(early) < new_id(late)
    assert new_id(early) != new_id(early)
