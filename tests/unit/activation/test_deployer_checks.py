"""The deployer's checks, against servers that respond, fail, drip and lie."""

import asyncio
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from components.pipeline.activation import deployer_checks
from components.pipeline.activation.deployer_checks import CheckError, run_checks
from components.pipeline.config.checks import Check, CheckKind, CheckOrigin
from components.pipeline.values import Duration
from tests.unit.activation.http_servers import (
    BUSY,
    CHUNKED,
    GOOD,
    Answer,
    certificate,
    drip,
    drip_headers,
    flood,
    flood_chunks,
    flood_headers,
    flood_line,
    hang,
    page,
    reset,
    serving,
)

SILENT = "no response in 1 s"
TRUNCATED = "the connection was closed before the response was complete"
NONE = Duration("0s")
WEB = Check(
    name="web",
    kind=CheckKind.HTTP,
    target="",
    origin=CheckOrigin.DEPLOYER,
    status=200,
    contains="",
    header="",
    period=NONE,
    timeout=Duration("5s"),
    retries=0,
    hold=NONE,
)
DEADLINE = 20.0


async def fault(check: Check) -> str:
    with pytest.raises(CheckError) as caught:
        await run_checks((check,), deadline=DEADLINE)
    assert caught.value.check == check
    assert str(caught.value) == f"check web: {caught.value.detail}"
    return str(caught.value)


@pytest.mark.parametrize(
    ("answer", "wanted"),
    [
        (GOOD, {"contains": "app v2 on web1", "header": "x-release: V2"}),
        (page(b"", "204 No Content"), {"status": 204}),
        (page(b"", "302 Found", "Location: /"), {"status": 302}),
        (page(b"", "302 Found", "Location: app:login"), {"status": 302}),
        (page(b"", "302 Found", "Location: http://[::1"), {"status": 302}),
        (page(b"oh", "503 Busy"), {"status": 503, "contains": "oh"}),
        (page("für".encode()), {"contains": "für"}),
        (b"HTTP/1.0 200\r\n\r\nold style", {"contains": "old style"}),
        (b"HTTP/1.1 200 OK\nContent-Length: 4\n\nbare", {"contains": "bare"}),
        (
            CHUNKED,
            {"contains": "app v2"},
        ),
        (b"HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n" + GOOD, {"contains": "app v2"}),
        (page(b"x" * 65530 + b"needle" + b"x" * 1000), {"contains": "needle"}),
    ],
)
async def test_a_good_response(answer: bytes, wanted: dict[str, object]) -> None:
    async with serving(answer) as server:
        check = replace(WEB, target=server.url, **wanted)  # type: ignore[arg-type]
        await run_checks((check,), deadline=DEADLINE)
        assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("answer", "wanted", "expected"),
    [
        (page(b"", "503 Busy"), {}, "expected status 200, got 503"),
        (page(b"", "302 Found", "Location: /good"), {}, "expected status 200, got 302"),
        (
            page(b"app v1 on web1\n"),
            {"contains": "app v2"},
            "the body does not contain 'app v2': 'app v1 on web1'",
        ),
        (
            page(b"\x1b[2J" + "\u202e".encode() + b"\xff" + b"x" * 100),
            {"contains": "ok"},
            f"the body does not contain 'ok': '\\x1b[2J\\u202e�{'x' * 45}…'",
        ),
        (page(b""), {"contains": "ok"}, "the body does not contain 'ok': ''"),
        (
            page(b"x" * 65531 + b"needle"),
            {"contains": "needle"},
            f"the body does not contain 'needle': '{'x' * 59}…'",
        ),
        (
            page(b"", "200 OK", "X-Release: v1"),
            {"header": "X-Release: v2"},
            "no header contains 'X-Release: v2'",
        ),
        (
            b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
            {},
            "the response is not HTTP: illegal status line: bytearray(b'SSH-2.0-OpenSSH_9.2')",
        ),
        (
            b"HTTP/2 200\r\n\r\n",
            {},
            "the response is not HTTP: illegal status line: bytearray(b'HTTP/2 200')",
        ),
        (b"", {}, TRUNCATED),
        (
            b"SSH-2.0-OpenSSH_9.2\r\n",
            {},
            TRUNCATED,
        ),
        (page(b"abc")[:-1], {}, TRUNCATED),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
            {},
            "the response is not HTTP: bad Content-Length",
        ),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
            {},
            "the response is not HTTP: illegal chunk header: bytearray(b'xyz\\r\\n')",
        ),
        (flood_headers, {}, "the response is not HTTP: Receive buffer too long"),
        (flood_line, {}, "the response is not HTTP: Receive buffer too long"),
        (reset, {}, "connection reset by peer"),
        (hang, {}, SILENT),
        (drip, {}, SILENT),
        (drip_headers, {}, SILENT),
    ],
)
async def test_a_bad_response(answer: Answer, wanted: dict[str, object], expected: str) -> None:
    async with serving(answer, GOOD) as server:
        started = time.monotonic()
        # A short one only where it is to be reached.
        limit = Duration("1s" if expected == SILENT else "5s")
        check = replace(WEB, target=server.url, timeout=limit, **wanted)  # type: ignore[arg-type]
        assert await fault(check) == f"check web: {expected}"
        assert time.monotonic() - started < 10
        assert len(server.requests) == 1


async def test_a_body_is_not_quoted_where_output_is_not_shown() -> None:
    async with serving(page(b"password: 1234")) as server:
        check = replace(WEB, target=server.url, contains="v2")
        with pytest.raises(CheckError, match=r"does not contain 'v2'\Z"):
            await run_checks((check,), deadline=DEADLINE, show_body=False)


@pytest.mark.parametrize("answer", [flood, flood_chunks])
async def test_only_the_beginning_of_an_endless_body_is_read(answer: Answer) -> None:
    async with serving(answer) as server:
        await run_checks((replace(WEB, target=server.url, contains="xxx"),), deadline=DEADLINE)


async def test_the_request() -> None:
    async with serving(GOOD) as server:
        await run_checks((replace(WEB, target=f"{server.url}a/b?c=d"),), deadline=DEADLINE)
        assert server.requests[0].decode().split("\r\n") == [
            "GET /a/b?c=d HTTP/1.1",
            f"Host: 127.0.0.1:{server.port}",
            "User-Agent: flakeup",
            "Accept: */*",
            "Accept-Encoding: identity",
            "Connection: close",
            "",
            "",
        ]


async def test_no_proxy_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(GOOD) as server, serving(BUSY) as proxy:
        for name in ("http_proxy", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        await run_checks((replace(WEB, target=server.url),), deadline=DEADLINE)
        assert not proxy.requests


def test_without_checks_httpx_is_not_loaded() -> None:
    module = "components.pipeline.activation.deployer_checks"
    code = f"import sys, {module}; sys.exit('httpx' in sys.modules)"
    root = Path(__file__).parents[3]
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30, cwd=root)


async def test_tcp() -> None:
    tcp = replace(WEB, kind=CheckKind.TCP)
    async with serving(hang) as server:
        await run_checks((replace(tcp, target=f"127.0.0.1:{server.port}"),), deadline=DEADLINE)
        await run_checks((replace(tcp, target=f"localhost:{server.port}"),), deadline=DEADLINE)


@pytest.mark.parametrize("kind", [CheckKind.HTTP, CheckKind.TCP])
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_connection_refused(kind: CheckKind, host: str) -> None:
    async with serving(GOOD) as server:
        target = f"{host}:{server.port}"
    target = f"http://{target}" if kind is CheckKind.HTTP else target
    assert await fault(replace(WEB, kind=kind, target=target)) == "check web: connection refused"


async def test_a_name_that_is_too_long() -> None:
    check = replace(WEB, kind=CheckKind.TCP, target=f"{'a' * 64}:22")
    assert await fault(check) == "check web: invalid host name: a label is too long"


@pytest.mark.parametrize(
    ("kind", "target"),
    [
        (CheckKind.TCP, "web1.invalid:22"),
        (CheckKind.HTTP, "http://web1.invalid/"),
        (CheckKind.HTTP, f"https://{'a' * 64}/"),
    ],
)
async def test_a_name_that_does_not_exist(kind: CheckKind, target: str) -> None:
    check = replace(WEB, kind=kind, target=target, timeout=Duration("15s"))
    assert await fault(check) in {
        "check web: name or service not known",
        "check web: temporary failure in name resolution",
        "check web: no address associated with hostname",
    }


async def test_without_checks_it_returns_at_once() -> None:
    await asyncio.wait_for(run_checks((), deadline=DEADLINE), 1)


async def test_retries_count_failures_before_the_first_success() -> None:
    async with serving(BUSY, b"", BUSY, GOOD) as server:
        await run_checks((replace(WEB, target=server.url, retries=3),), deadline=DEADLINE)
        assert len(server.requests) == 4


async def test_retries_are_exhausted() -> None:
    async with serving(BUSY, b"", page(b"", "500 Oh"), GOOD) as server:
        expected = await fault(replace(WEB, target=server.url, retries=2))
        assert expected == "check web: expected status 200, got 500"
        assert len(server.requests) == 3


async def test_one_try_per_period() -> None:
    async with serving(BUSY, BUSY, GOOD) as server:
        started = time.monotonic()
        check = replace(WEB, target=server.url, retries=2, period=Duration("1s"))
        await run_checks((check,), deadline=DEADLINE)
        assert 1.9 < time.monotonic() - started < 15


async def test_a_check_that_fails_during_its_hold_time() -> None:
    """Retries apply only before the first success."""
    async with serving(BUSY, GOOD, BUSY, GOOD) as server:
        check = replace(WEB, target=server.url, retries=10, hold=Duration("10s"))
        assert await fault(check) == (
            "check web: passed for 0 s, then failed: expected status 200, got 503"
        )
        assert len(server.requests) == 3


async def test_a_check_that_succeeds_for_its_hold_time() -> None:
    """The last try is at the end of the hold time, even if the period is longer."""
    async with serving(BUSY, GOOD) as server:
        started = time.monotonic()
        check = replace(WEB, target=server.url, retries=1, hold=Duration("1s"))
        await run_checks((replace(check, period=Duration("1s")),), deadline=DEADLINE)
        assert 1.9 < time.monotonic() - started < 15
    async with serving(GOOD) as server:
        await run_checks(
            (replace(check, target=server.url, period=Duration("10s")),), deadline=DEADLINE
        )
        assert len(server.requests) == 2


async def test_the_deadline_is_for_all_checks() -> None:
    async with serving(BUSY) as busy, serving(hang) as silent, serving(GOOD) as good:
        started = time.monotonic()
        retried = replace(WEB, target=busy.url, retries=1000, period=Duration("1s"))
        for checks, expected in (
            ((retried,), "check web: still failing after 2 s: expected status 200, got 503"),
            (
                (replace(WEB, target=silent.url),),
                "check web: still failing after 2 s: no response",
            ),
            (
                (replace(WEB, target=good.url, hold=Duration("10s"), period=Duration("1s")),),
                "check web: passed, but not for 10s before 2 s were over",
            ),
            (
                (replace(WEB, name="good", target=good.url), retried),
                "check web: still failing after 2 s: expected status 200, got 503",
            ),
        ):
            with pytest.raises(CheckError) as caught:
                await run_checks(checks, deadline=2)
            assert str(caught.value) == expected
        assert time.monotonic() - started < 15


async def test_checks_run_in_parallel() -> None:
    async def late(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(1)
        writer.write(GOOD)
        await writer.drain()

    async with serving(late) as server:
        started = time.monotonic()
        checks = tuple(replace(WEB, name=f"c{i}", target=server.url) for i in range(50))
        await run_checks(checks, deadline=DEADLINE)
        assert time.monotonic() - started < 15


async def test_the_first_failure_cancels_the_others() -> None:
    async with serving(BUSY) as busy, serving(hang) as silent:
        started = time.monotonic()
        waits = replace(WEB, name="waits", target=silent.url, timeout=Duration("15s"))
        with pytest.raises(CheckError) as caught:
            await run_checks((waits, replace(WEB, target=busy.url)), deadline=DEADLINE)
        assert str(caught.value) == "check web: expected status 200, got 503"
        assert time.monotonic() - started < 12


async def test_cancelling_closes_connections() -> None:
    async with serving(hang) as server:
        task = asyncio.create_task(
            run_checks((replace(WEB, target=server.url),), deadline=DEADLINE)
        )
        await asyncio.wait_for(server.reached.wait(), 30)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(server.left.wait(), 30)


@pytest.fixture
def fresh_trust() -> Iterator[None]:
    deployer_checks._trust.cache_clear()
    yield
    deployer_checks._trust.cache_clear()


@pytest.mark.usefixtures("fresh_trust")
async def test_a_certificate_is_verified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = certificate(tmp_path)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(file)
    async with serving(GOOD, tls=tls) as server:
        check = replace(WEB, target=f"https://127.0.0.1:{server.port}/", contains="app v2")
        assert await fault(check) == ("check web: invalid certificate: self-signed certificate")
        assert not server.requests
        monkeypatch.setenv("SSL_CERT_FILE", str(file))
        deployer_checks._trust.cache_clear()
        await run_checks((check,), deadline=DEADLINE)


@pytest.mark.parametrize(
    ("greeting", "detail"),
    [(b"SSH-2.0-OpenSSH_9.2\r\n", "wrong version number"), (b"", "unexpected eof while reading")],
)
async def test_https_on_a_port_without_tls(greeting: bytes, detail: str) -> None:
    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(4096)
        writer.write(greeting)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(greet, "127.0.0.1", 0) as listening:
        port = listening.sockets[0].getsockname()[1]
        expected = await fault(replace(WEB, target=f"https://127.0.0.1:{port}/"))
        assert expected == f"check web: TLS error: {detail}"
