"""Daemons, servers and instances that send too much, too slowly, or something else than JSON."""

import gzip
import json
import time
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from components.pipeline.errors import (
    DockerError,
    DockerRefusedError,
    DockerUnavailableError,
    IncusRefusedError,
    IncusUnavailableError,
)
from components.pipeline.process import bounded
from components.pipeline.targets.docker import daemon
from components.pipeline.targets.docker.daemon import Daemon
from components.pipeline.targets.incus import api
from components.pipeline.targets.incus.api import Incus
from components.pipeline.targets.incus.remote import Remote

from ..activation.http_servers import Answer, drip, flood, flood_chunks, page, serving

MEMORY = 48 * 1024 * 1024
"""Bytes that may be allocated for a reply without end: its limit, and the copies of it."""
NESTED = page(b"[" * 100_000)
BOMB = page(gzip.compress(b" " * 100_000_000), "200 OK", "Content-Encoding: gzip")


@asynccontextmanager
async def docker_of(*answers: Answer) -> AsyncIterator[Daemon]:
    async with serving(*answers) as server, Daemon(f"tcp://127.0.0.1:{server.port}") as docker:
        yield docker


@asynccontextmanager
async def incus_of(path: Path, *answers: Answer) -> AsyncIterator[Incus]:
    remote = Remote(name="local", socket=path / "socket")
    async with serving(*answers, path=remote.socket), Incus(remote, "default") as incus:
        yield incus


@pytest.fixture(autouse=True)
def _bounded_memory() -> Iterator[None]:
    tracemalloc.start()
    yield
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < MEMORY


DOCKER: dict[str, Callable[[Daemon], Awaitable[Any]]] = {
    "get": lambda docker: docker.get("/containers/json"),
    "change": lambda docker: docker.change("POST", "/containers/create", {}),
    "put": lambda docker: docker.put("a", "/etc", {"b": "c"}),
    "execute": lambda docker: docker.execute("a", "true"),
    "pull": lambda docker: docker.pull("app", "v1", ""),
}


@pytest.mark.parametrize("call", DOCKER)
@pytest.mark.parametrize("answer", [flood, NESTED, BOMB])
async def test_docker_refuses_what_is_no_reply(call: str, answer: Answer) -> None:
    async with docker_of(answer) as docker:
        with pytest.raises(DockerError):
            await DOCKER[call](docker)


@pytest.mark.parametrize("answer", [flood, flood_chunks])
async def test_the_output_of_a_command_in_a_container_is_bounded(answer: Answer) -> None:
    created = page(json.dumps({"Id": "b"}).encode())
    async with docker_of(created, answer) as docker:
        with pytest.raises(DockerRefusedError, match="the reply has more than 65536 bytes"):
            await docker.execute("a", "yes")


@pytest.mark.parametrize("answer", [flood, flood_chunks])
async def test_of_an_endless_log_the_beginning_is_read(answer: Answer) -> None:
    async with docker_of(answer) as docker:
        assert (await docker.logs("a", 10)).endswith("x" * 1000)


async def test_progress_is_read_line_by_line() -> None:
    """A pull may report more than any limit, as long as it is in lines."""
    line = b'{"status": "Downloading"}\r\n'
    many = line * (2 * bounded.FILE_LIMIT // len(line))
    async with docker_of(page(many), page(many + b'{"error": "no \\u001b[31m space"}')) as docker:
        await docker.pull("app", "v1", "")
        with pytest.raises(DockerRefusedError, match=r"no \\x1b\[31m space"):
            await docker.pull("app", "v1", "")


DRIPPED: dict[str, Callable[[Daemon], Awaitable[Any]]] = {
    "change": lambda docker: docker.change("POST", "/containers/a/wait", seconds=0.5),
    "pull": lambda docker: docker.pull("app", "v1", ""),
    "logs": lambda docker: docker.logs("a", 10),
}


@pytest.mark.parametrize("call", DRIPPED)
async def test_docker_replies_that_drip(call: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each read gets something, so that no timeout of a read ends it."""
    for name in ("TIMEOUT", "TRANSFER_TIMEOUT"):
        monkeypatch.setattr(daemon, name, 0.5)
    async with docker_of(drip) as docker:
        with pytest.raises(DockerUnavailableError, match="no answer in time"):
            await DRIPPED[call](docker)


INCUS: dict[str, Callable[[Incus], Awaitable[Any]]] = {
    "get": lambda incus: incus.get("/1.0/instances"),
    "etag": lambda incus: incus.get_with_etag("/1.0/instances/a"),
    "change": lambda incus: incus.change("PUT", "/1.0/instances/a", {}),
    "key": lambda incus: incus.get_bytes("/1.0/instances/a/files", limit=bounded.KEY_LIMIT),
}


@pytest.mark.parametrize("call", INCUS)
@pytest.mark.parametrize("answer", [flood, NESTED, BOMB])
async def test_incus_refuses_what_is_no_reply(call: str, answer: Answer, tmp_path: Path) -> None:
    async with incus_of(tmp_path, answer) as incus:
        with pytest.raises(IncusRefusedError):
            await INCUS[call](incus)


async def test_a_file_of_an_instance_is_bounded(tmp_path: Path) -> None:
    async with incus_of(tmp_path, page(b"x" * 4096), page(b"x" * 4097), flood) as incus:
        assert await incus.get_bytes("/1.0/f", limit=4096) == b"x" * 4096
        with pytest.raises(IncusRefusedError, match="more than 4096 bytes"):
            await incus.get_bytes("/1.0/f", limit=4096)
        assert await incus.get_beginning("/1.0/f", limit=100) == b"x" * 100


async def test_incus_replies_that_drip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "RESPONSE_TIMEOUT", 0.5)
    async with incus_of(tmp_path, drip) as incus:
        with pytest.raises(IncusUnavailableError, match="the request timed out"):
            await incus.get_beginning("/1.0/f", limit=5000)


async def test_no_reply_is_asked_for_compressed(tmp_path: Path) -> None:
    remote = Remote(name="local", socket=tmp_path / "socket")
    good = page(b'{"type": "sync", "metadata": 1}')
    async with serving(good, path=remote.socket) as server, Incus(remote, "default") as incus:
        assert await incus.get("/1.0") == 1
    async with serving(page(b"{}")) as other, Daemon(f"tcp://127.0.0.1:{other.port}") as docker:
        assert await docker.get("/info") == {}
    for request in (*server.requests, *other.requests):
        assert b"accept-encoding: identity\r\n" in request.lower()


async def test_a_log_of_many_small_pieces_takes_no_longer() -> None:
    """Each write of a container is a piece with a header of its own."""
    log = b"\1\0\0\0\0\0\0\1x" * (bounded.FILE_LIMIT // 9)
    began = time.monotonic()
    async with docker_of(page(log)) as docker:
        assert (await docker.logs("a", 10)).endswith("x" * 1000)
    assert time.monotonic() - began < 5
