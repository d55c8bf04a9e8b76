"""Starting, limiting and terminating small real processes."""
# ruff: noqa: ASYNC240 small local files

import asyncio
import contextlib
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from components.pipeline.errors import ProcessError
from components.pipeline.process import run as process
from components.pipeline.process.concurrency import all_of
from components.pipeline.process.run import Argv, run
from components.pipeline.process.stream import lines


def sh(script: str, *words: str) -> Argv:
    return ("sh", "-c", script, "sh", *words)


def is_running(pid: int) -> bool:
    """Whether it exists and is not a zombie: PID 1 reaps an orphan at some time."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except FileNotFoundError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


async def gone(pid: int, seconds: float = 20.0) -> bool:
    end = time.monotonic() + seconds
    while is_running(pid):
        if time.monotonic() > end:
            return False
        await asyncio.sleep(0.02)
    return True


async def written(path: Path, seconds: float = 30.0) -> str:
    end = time.monotonic() + seconds
    while not (path.exists() and path.read_text().endswith("\n")):
        assert time.monotonic() < end, f"{path.name} was not written"
        await asyncio.sleep(0.01)
    return path.read_text().strip()


async def test_it_returns_the_output() -> None:
    done = await run(sh("printf 'one\\ntwo\\n\\n'; printf ' oh \\n' >&2"), timeout=5)
    assert (done.code, done.stdout, done.text, done.stderr_text) == (
        0,
        b"one\ntwo\n\n",
        "one\ntwo",
        "oh",
    )


async def test_stdin_is_written_and_closed() -> None:
    many = os.urandom(1 << 20)
    assert (await run(("cat",), timeout=10, stdin=many)).stdout == many
    assert (await run(("cat",), timeout=5)).stdout == b""


async def test_unread_stdin_is_not_an_error() -> None:
    assert (await run(("true",), timeout=5, stdin=b"x" * (1 << 20))).code == 0


async def test_environment_is_added(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FROM_OUTSIDE", "kept")
    done = await run(sh('echo "$FROM_OUTSIDE $OWN"'), timeout=5, env={"OWN": "added"})
    assert done.text == "kept added"


async def test_failure_has_command_status_and_the_end_of_stderr() -> None:
    script = "i=0; while [ $i -lt 30 ]; do i=$((i+1)); echo line $i >&2; done; exit 3"
    with pytest.raises(ProcessError) as caught:
        await run(sh(script, "--", "a b"), timeout=5)
    error = caught.value
    assert error.code == 3
    assert error.last_lines(2) == "line 29\nline 30"
    assert error.detail.splitlines()[0] == "line 1"
    assert str(error) == "\n".join(
        [
            f"sh failed: sh -c '{script}' sh -- 'a b': exit status 3: line 11",
            *(f"line {number}" for number in range(12, 31)),
        ]
    )


async def test_without_check_a_failure_is_a_result() -> None:
    assert (await run(("false",), timeout=5, check=False)).code == 1


async def test_a_signal_is_a_negative_code() -> None:
    with pytest.raises(ProcessError) as caught:
        await run(sh("kill -KILL $$"), timeout=5)
    assert caught.value.code == -9
    assert str(caught.value) == "sh failed: sh -c 'kill -KILL $$' sh: ended by signal 9"


async def test_stderr_is_printable() -> None:
    with pytest.raises(ProcessError) as caught:
        await run(sh(r"printf '\033[31mred\007 \377\n' >&2; exit 1"), timeout=5)
    assert caught.value.detail == "\\x1b[31mred\\x07 \ufffd"


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (
            ("no-such-program", "x"),
            (
                "no-such-program failed: no-such-program x: "
                "no-such-program is not installed, or not on PATH. install no-such-program"
            ),
        ),
        (
            ("/etc/passwd",),
            (
                "/etc/passwd failed: /etc/passwd: /etc/passwd is not executable. "
                "let this user run /etc/passwd"
            ),
        ),
    ],
)
async def test_programs_that_cannot_be_started(argv: Argv, message: str) -> None:
    with pytest.raises(ProcessError) as caught:
        await run(argv, timeout=5)
    assert str(caught.value) == message
    assert caught.value.code is None


async def test_a_timeout_terminates_the_whole_group(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    began = time.monotonic()
    with pytest.raises(ProcessError, match=r"timed out after 2 s$"):
        await run(sh('sleep 60 & echo "$$ $!" >"$1"; wait', str(pids)), timeout=2)
    assert time.monotonic() - began < 20
    for pid in (await written(pids)).split():
        assert await gone(int(pid))


async def test_a_timeout_kills_processes_that_ignore_sigterm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "TERM_GRACE", 0.3)
    pids = tmp_path / "pids"
    # The first exits at SIGTERM; the other ignores it, and holds none of our pipes.
    script = """
        sh -c 'trap "" TERM; while :; do sleep 0.05; done' >/dev/null 2>&1 & deaf=$!
        echo "$$ $deaf" >"$1"; exec sleep 60"""
    with pytest.raises(ProcessError, match="timed out after"):
        await run(sh(script, str(pids)), timeout=2)
    for pid in (await written(pids)).split():
        assert await gone(int(pid))


async def test_a_timeout_terminates_the_children_of_a_dead_parent(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    with pytest.raises(ProcessError, match="timed out after"):
        await run(sh('sleep 60 & echo $! >"$1"; exit 0', str(pids)), timeout=2)
    assert await gone(int(await written(pids)))


async def test_children_of_a_killed_process_do_not_block_the_caller(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(process, "ORPHAN_GRACE", 0.2)
    script = "echo printed; sleep 300 & echo $! >&2; kill -KILL $$"
    done = await run(sh(script), timeout=60, check=False)
    assert (done.code, done.text) == (-9, "printed")
    assert await gone(int(done.stderr_text))


async def test_cancelling_leaves_no_process(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    task = asyncio.create_task(
        run(sh('sleep 60 & echo "$$ $!" >"$1"; wait', str(pids)), timeout=60)
    )
    found = (await written(pids)).split()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    for pid in found:
        assert await gone(int(pid))


async def test_cancelling_at_once_leaves_no_process() -> None:
    mark = f"61.{os.getpid()}"
    for turns in range(6):
        task = asyncio.create_task(run(("sleep", mark), timeout=60))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert b"sleep\0" + mark.encode() + b"\0" not in list(command_lines())


def command_lines() -> Iterator[bytes]:
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # it may exit meanwhile
            yield path.read_bytes()


async def test_cancelled_during_termination_it_still_terminates(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    stubborn = """trap "" TERM; echo $$ >"$1"; while :; do sleep 1; done"""

    async def leave() -> None:
        async with lines(sh(stubborn, str(pids)), timeout=10):
            await written(pids)

    task = asyncio.create_task(leave())
    pid = int(await written(pids))
    # By now it has ignored SIGTERM and is waited for: then the wait is cancelled.
    await asyncio.sleep(0.5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not is_running(pid)


async def test_it_has_its_own_session() -> None:
    script = "import os; print(os.getsid(0) == os.getpid())"
    assert (await run((sys.executable, "-c", script), timeout=10)).text == "True"


async def test_too_much_output_terminates_it() -> None:
    assert (await run(sh("head -c 1000 /dev/zero"), timeout=5, limit=1000)).code == 0
    began = time.monotonic()
    with pytest.raises(ProcessError, match="more than 1000 bytes of output"):
        await run(sh("yes"), timeout=20, limit=1000)
    assert time.monotonic() - began < 5


async def test_the_end_of_a_long_stderr_is_kept() -> None:
    """A build may print more than anybody reads: that is no reason to end it."""
    script = "head -c 9000000 /dev/zero | tr '\\0' x >&2; echo the end >&2"
    done = await run(sh(script), timeout=20)
    assert len(done.stderr) == process.STDERR_LIMIT
    assert done.stderr_text.endswith("the end")


# --- lines --------------------------------------------------------------------------------


async def collect(argv: Argv, *, timeout: float = 5, stdin: bytes = b"") -> list[bytes]:  # noqa: ASYNC109
    async with lines(argv, timeout=timeout, stdin=stdin) as stream:
        return [line async for line in stream]


async def test_lines_one_by_one() -> None:
    assert await collect(sh("echo one; echo two; printf three")) == [b"one\n", b"two\n", b"three"]
    assert await collect(("cat",), stdin=b"a\nb\n") == [b"a\n", b"b\n"]


async def test_lines_come_as_they_are_printed() -> None:
    async with lines(sh("echo now; exec sleep 60"), timeout=20) as stream:
        began = time.monotonic()
        assert await anext(stream) == b"now\n"
        assert time.monotonic() - began < 5


async def test_lines_of_a_process_that_fails() -> None:
    async with lines(sh("echo one; echo oh >&2; exit 75"), timeout=5) as stream:
        assert await anext(stream) == b"one\n"
        with pytest.raises(ProcessError) as caught:
            await anext(stream)
    assert (caught.value.code, caught.value.detail) == (75, "oh")


async def test_a_line_may_not_exceed_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "LINE_LIMIT", 1000)
    fits = await collect(sh("head -c 999 /dev/zero; echo"))
    assert [len(line) for line in fits] == [1000]
    with pytest.raises(ProcessError, match="a line of more than 1000 bytes"):
        await collect(sh("yes | tr -d '\\n'"), timeout=20)


async def test_lines_time_out(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    began = time.monotonic()
    with pytest.raises(ProcessError, match=r"timed out after 2 s"):
        await collect(sh('echo "$$" >"$1"; echo x; sleep 60', str(pids)), timeout=2)
    assert time.monotonic() - began < 20
    assert await gone(int(await written(pids)))


async def test_the_timeout_of_lines_does_not_cancel_the_consumer() -> None:
    async with lines(sh("echo one; sleep 60"), timeout=2) as stream:
        assert await anext(stream) == b"one\n"
        await asyncio.sleep(2.5)
        with pytest.raises(ProcessError, match="timed out after"):
            await anext(stream)


async def test_leaving_the_block_terminates_the_process(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    async with lines(sh('echo "$$" >"$1"; yes', str(pids)), timeout=60) as stream:
        async for _ in stream:
            break
        pid = int(await written(pids))
    assert await gone(pid)


# --- all_of -------------------------------------------------------------------------------


async def test_all_of_keeps_the_order() -> None:
    async def after(seconds: float) -> float:
        await asyncio.sleep(seconds)
        return seconds

    assert await all_of(after(s) for s in (0.03, 0.0, 0.01)) == [0.03, 0.0, 0.01]
    nothing: tuple[float, ...] = ()
    assert await all_of(after(s) for s in nothing) == []


async def test_all_of_cancels_the_others_when_one_fails(tmp_path: Path) -> None:
    pids = tmp_path / "pids"

    async def fails() -> None:
        await written(pids)
        msg = "the first"
        raise ValueError(msg)

    async def long() -> None:
        await run(sh('echo "$$" >"$1"; exec sleep 60', str(pids)), timeout=60)

    with pytest.raises(ValueError, match="the first"):
        await all_of([long(), fails()])
    assert await gone(int(await written(pids)))


async def test_cancelling_all_of_cancels_all(tmp_path: Path) -> None:
    pids = [tmp_path / "one", tmp_path / "two"]

    async def long(path: Path) -> None:
        await run(sh('echo "$$" >"$1"; exec sleep 60', str(path)), timeout=60)

    task = asyncio.create_task(all_of(long(path) for path in pids))
    found = [int(await written(path)) for path in pids]
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [await gone(pid) for pid in found] == [True, True]
