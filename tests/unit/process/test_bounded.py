"""How much is read of what somebody else sends."""

from collections.abc import AsyncIterator

import pytest

from components.pipeline.process import bounded


class Chunks:
    """Chunks that count how many were asked for."""

    def __init__(self, *chunks: bytes) -> None:
        self._chunks = chunks
        self.taken = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for chunk in self._chunks:
            self.taken += 1
            yield chunk


async def test_whole() -> None:
    assert await bounded.whole(Chunks(b"ab", b"c"), 3) == b"abc"
    assert await bounded.whole(Chunks(), 3) == b""
    endless = Chunks(*[b"ab"] * 100)
    with pytest.raises(bounded.OversizeError, match="more than 3 bytes"):
        await bounded.whole(endless, 3)
    assert endless.taken == 2


async def test_beginning() -> None:
    assert await bounded.beginning(Chunks(b"ab", b"c"), 3) == b"abc"
    endless = Chunks(*[b"ab"] * 100)
    assert await bounded.beginning(endless, 3) == b"aba"
    assert endless.taken == 2


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 100])
async def test_end(limit: int) -> None:
    text = b"".join(b"%d " % number for number in range(30))
    for size in (1, 2, 5, 1000):
        chunks = [text[start : start + size] for start in range(0, len(text), size)]
        assert await bounded.end(Chunks(*chunks), limit) == text[-limit:]


async def test_lines() -> None:
    chunks = Chunks(b"on", b"e\r\ntwo\n\nth", b"ree")
    assert [line async for line in bounded.lines(chunks, 5)] == [b"one", b"two", b"three"]
    assert [line async for line in bounded.lines(Chunks(), 5)] == []


@pytest.mark.parametrize("chunks", [(b"one\nlonger", b"\n"), (b"one\n", *[b"xx"] * 100)])
async def test_a_line_over_the_limit(chunks: tuple[bytes, ...]) -> None:
    given = Chunks(*chunks)
    with pytest.raises(bounded.OversizeError):
        _ = [line async for line in bounded.lines(given, 5)]
    assert given.taken < 5
