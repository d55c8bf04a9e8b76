"""A socket connected to a program: one per connection, and none is left running."""

import asyncio
import os
from pathlib import Path

from components.pipeline.process.socket_bridge import bridge


async def exchange(socket: Path, sent: bytes) -> bytes:
    reader, writer = await asyncio.open_unix_connection(socket)
    writer.write(sent)
    writer.write_eof()
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


def runs(pid: Path) -> bool:
    return Path(f"/proc/{pid.read_text().strip()}").exists()


async def test_bytes_go_both_ways() -> None:
    large = os.urandom(3_000_000)
    async with bridge(("cat",)) as socket:
        assert socket.parent.stat().st_mode & 0o777 == 0o700
        both = await asyncio.gather(exchange(socket, b"one"), exchange(socket, large))
        assert list(both) == [b"one", large]
    assert not socket.exists()


async def test_each_connection_has_its_own_program(tmp_path: Path) -> None:
    async with bridge(("sh", "-c", f"echo $$ >>{tmp_path}/pids; exec cat")) as socket:
        for _ in range(2):
            await exchange(socket, b"x")
    first, second = (tmp_path / "pids").read_text().split()
    assert first != second


async def test_a_program_that_cannot_be_started_ends_the_connection() -> None:
    async with bridge(("/no/such/program",)) as socket:
        reader, writer = await asyncio.open_unix_connection(socket)
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()


async def test_a_failure_is_reported_before_the_connection_ends() -> None:
    errors: list[tuple[int | None, str]] = []
    argv = ("sh", "-c", "read line; echo answer; echo it hurts >&2; exit 3")
    async with bridge(argv, lambda error: errors.append((error.code, error.detail))) as socket:
        assert await exchange(socket, b"go\n") == b"answer\n"
        assert errors == [(3, "it hurts")]
    async with bridge(("cat",), lambda _: errors.clear()) as socket:
        assert await exchange(socket, b"x") == b"x"
    assert errors == [(3, "it hurts")], "an ended connection is not a failure"


async def test_leaving_the_block_terminates_running_programs(tmp_path: Path) -> None:
    argv = ("sh", "-c", f"echo $$ >{tmp_path}/pid; echo it runs; exec sleep 100")
    async with bridge(argv) as socket:
        reader, writer = await asyncio.open_unix_connection(socket)
        assert await reader.readline() == b"it runs\n"
    assert await reader.read() == b""
    writer.close()
    await writer.wait_closed()
    assert not runs(tmp_path / "pid")
