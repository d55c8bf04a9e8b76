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
kind=http target=$1 limit=1 status=200 contains=$2 header=$3 output=${{5:-yes}}
write_texts "$4/1"
probe "$4/1"
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
    async with serving(answer) as server:
        code, output = await probe(server.url, contains, header, str(tmp_path))
    assert code == (1 if fault else 0)
    assert fault in output
    assert bool(fault) == bool(output)


async def test_a_body_is_not_quoted_where_output_is_not_shown(tmp_path: Path) -> None:
    async with serving(page(b"password: 1234")) as server:
        said = await probe(server.url, "v2", "", str(tmp_path), "no")
    assert said == (1, "the body does not contain 'v2'")


async def test_what_curl_is_told_is_the_url_as_it_is(tmp_path: Path) -> None:
    """Backslashes and quotes are special in curl's config, braces and brackets in its urls."""
    odd = "/a\\b{c}[1-2]?q=%22x&key=y"
    async with serving(page(b"v2")) as server:
        assert await probe(server.url.rstrip("/") + odd, "v2", "", str(tmp_path)) == (0, "")
    told = (tmp_path / "1.target").read_text()
    assert told == 'url = "' + server.url.rstrip("/") + odd.replace("\\", "\\\\") + '"\n'


async def probe(*words: str) -> tuple[int | None, str]:
    """Run the runner's check of URL CONTAINS HEADER FOLDER [OUTPUT]; its exit code and words."""
    if shutil.which("curl") is None:
        pytest.skip("no curl here: the runner's http checks need it")
    argv = ("sh", "-c", PROBE, "sh", *words)
    process = await asyncio.create_subprocess_exec(*argv, stdout=asyncio.subprocess.PIPE)
    output, _ = await process.communicate()
    return process.returncode, output.decode()
