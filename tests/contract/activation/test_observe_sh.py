"""The runner's `http` check, against servers that misbehave."""

import asyncio
import shutil
from pathlib import Path

import pytest

from components.pipeline.activation import runner
from tests.unit.activation.http_servers import Answer, hang, page, serving

pytestmark = pytest.mark.contract

FUNCTIONS = runner.text().decode().rpartition("\n{\n    case")[0]
PROBE = f"""{FUNCTIONS}
kind=http target=$1 limit=1 status=200 contains=$2 header=$3
probe "$4/answer"
"""
HEAD = b"HTTP/1.1 200 OK\r\nX-Release: v2\r\nContent-Length: 1000000\r\n\r\n"


async def stops_after_the_headers(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    writer.write(HEAD + b"v2")
    await writer.drain()
    await hang(reader, writer)


@pytest.mark.parametrize(
    ("answer", "contains", "header", "fault"),
    [
        (page(b"v2 is up", "200 OK", "X-Release: v2"), "v2", "x-release: v2", ""),
        (HEAD + b"v2" + b"." * 999_998, "v2", "", ""),
        (page(b"v2", "500 Oh"), "", "", "expected status 200, got 500"),
        (page(b"v1"), "v2", "", "the body does not contain 'v2': 'v1'"),
        (page(b"v2"), "", "HTTP/1.1 200", "no header has 'HTTP/1.1 200'"),
        (HEAD + b"v2", "v2", "", "closed with 999998 bytes remaining"),
        (stops_after_the_headers, "v2", "", "timed out"),
        (b"220 mail.example.org ESMTP\r\n", "", "", "HTTP/0.9"),
        (b"", "", "", "Empty reply"),
    ],
    ids=["good", "long", "status", "body", "no header", "cut off", "hangs", "mail", "empty"],
)
async def test_http(answer: Answer, contains: str, header: str, fault: str, tmp_path: Path) -> None:
    if shutil.which("curl") is None:
        pytest.skip("no curl here: the runner's http checks need it")
    async with serving(answer) as server:
        argv = ("sh", "-c", PROBE, "sh", server.url, contains, header, str(tmp_path))
        process = await asyncio.create_subprocess_exec(*argv, stdout=asyncio.subprocess.PIPE)
        output, _ = await process.communicate()
    assert process.returncode == (1 if fault else 0)
    assert fault in output.decode()
    assert bool(fault) == bool(output)
