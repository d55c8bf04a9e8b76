"""The proxy for a daemon's socket, with a small server behind it."""

import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingUnixStreamServer

import pytest

from harness.daemons.daemon_proxy import DaemonProxy
from harness.daemons.docker_fixtures import wait_for

LARGE = b"x" * 300_000


class Server(ThreadingUnixStreamServer):
    """Answers each request with the size of its body."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, path: Path) -> None:
        self.path = path
        self.arrived: list[str] = []
        super().__init__(str(path), Handler)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def address_string(self) -> str:
        return "test"

    def do_POST(self) -> None:
        assert isinstance(self.server, Server)
        self.server.arrived.append(self.path)
        size = len(self.rfile.read(int(self.headers["content-length"])))
        self.server.arrived.append(str(size))
        body = str(size).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Print nothing."""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with Server(tmp_path / "daemon") as made:
        threading.Thread(target=made.serve_forever, daemon=True).start()
        yield made
        made.shutdown()


@pytest.fixture
def proxy(server: Server, tmp_path: Path) -> Iterator[DaemonProxy]:
    with DaemonProxy(tmp_path / "proxy", server.path) as made:
        yield made


class Post(threading.Thread):
    """One request; `answer` is empty if the connection ended without a response."""

    def __init__(self, proxy: DaemonProxy, path: str, body: bytes) -> None:
        super().__init__(daemon=True)
        self.proxy, self.path, self.body = proxy, path, body
        self.answer = b""
        self.start()

    def run(self) -> None:
        length = f"Connection: close\r\nContent-Length: {len(self.body)}"
        head = f"POST {self.path} HTTP/1.1\r\nHost: x\r\n{length}\r\n\r\n"
        with socket.socket(socket.AF_UNIX) as end:
            end.settimeout(30)
            end.connect(str(self.proxy.path))
            try:
                end.sendall(head.encode() + self.body)
                self.answer = end.makefile("rb").read()
            except OSError:
                return


def ended(post: Post) -> bytes:
    post.join(30)
    assert not post.is_alive()
    return post.answer.rpartition(b"\r\n")[2]


def test_a_held_request_arrives_after_the_block(server: Server, proxy: DaemonProxy) -> None:
    with proxy.hold("POST /a") as fault:
        post = Post(proxy, "/a", b"small")
        fault.wait()
        other = Post(proxy, "/b", b"other")
        assert ended(other) == b"5"
        assert server.arrived == ["/b", "5"], "nothing of the held one"
    assert ended(post) == b"5"
    assert server.arrived == ["/b", "5", "/a", "5"]
    assert proxy.changes() == ["POST /a", "POST /b"]


def test_a_held_request_is_dropped_by_a_reset(server: Server, proxy: DaemonProxy) -> None:
    with proxy.hold("POST /a") as fault:
        post = Post(proxy, "/a", b"small")
        fault.wait()
        proxy.reset()
        assert ended(post) == b""
    assert server.arrived == []
    assert proxy.requests() == []


def test_the_first_part_of_a_large_body_arrives(server: Server, proxy: DaemonProxy) -> None:
    with proxy.hold("POST /a") as fault:
        post = Post(proxy, "/a", LARGE)
        fault.wait()
        ended(Post(proxy, "/b", b"other"))
        assert str(len(LARGE)) not in server.arrived
        wait_for(lambda: "/a" in server.arrived, 30)
    assert ended(post) == b"300000"


@pytest.mark.parametrize(
    ("when", "body", "arrived"),
    [
        ("before", LARGE, []),
        ("middle", b"small", []),
        ("middle", LARGE, ["/a"]),
        ("after", b"small", ["/a", "5"]),
        ("after", LARGE, ["/a", "300000"]),
    ],
)
def test_a_broken_connection(
    server: Server, proxy: DaemonProxy, when: str, body: bytes, arrived: list[str]
) -> None:
    fault = proxy.disconnect("POST /a", when=when, seconds=0.2)
    assert ended(Post(proxy, "/a", body)) == b""
    fault.wait(1)
    wait_for(lambda: server.arrived[: len(arrived)] == arrived, 30)
    wait_for(proxy.path.exists, 30)
    assert ended(Post(proxy, "/a", b"again")) == b"5"
    assert "300000" not in server.arrived or when == "after"


def test_nothing_is_accepted_while_it_is_down(server: Server, proxy: DaemonProxy) -> None:
    with proxy.down():
        assert not proxy.path.exists()
        with socket.socket(socket.AF_UNIX) as end, pytest.raises(FileNotFoundError):
            end.connect(str(proxy.path))
    assert ended(Post(proxy, "/a", b"up")) == b"2"
    assert server.arrived == ["/a", "2"]
