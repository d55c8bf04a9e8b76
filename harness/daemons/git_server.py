"""Git servers on loopback, as nix treats local repositories differently."""

import contextlib
import os
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from harness.ports import free_port

TIMEOUT = 10.0


@contextlib.contextmanager
def git_daemon(base: Path) -> Iterator[str]:
    """Serve the repositories in `base` by git's own protocol; yields `git://127.0.0.1:PORT`."""
    port = free_port()
    argv = (
        "git", "daemon", "--export-all", "--reuseaddr", "--listen=127.0.0.1", f"--port={port}",
        f"--base-path={base}", "--", str(base),
    )  # fmt: skip
    with subprocess.Popen(
        argv, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    ) as daemon:
        try:
            _wait_for(port)
            yield f"git://127.0.0.1:{port}"
        finally:
            daemon.terminate()


@contextlib.contextmanager
def git_over_http(base: Path) -> Iterator[str]:
    """Serve the repositories in `base` by `git http-backend`; yields `http://127.0.0.1:PORT`."""

    handler = type("Backend", (_Backend,), {"base": base})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


class _Backend(BaseHTTPRequestHandler):
    """Runs git-http-backend(1) as a CGI process for each request."""

    base: Path
    """The folder of the repositories."""

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        environment = {
            **os.environ,
            "GIT_PROJECT_ROOT": str(self.base),
            "GIT_HTTP_EXPORT_ALL": "1",
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "REQUEST_METHOD": self.command,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
            "REMOTE_ADDR": "127.0.0.1",
        }
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        argv = ("git", "http-backend")
        done = subprocess.run(
            argv, input=body, env=environment, capture_output=True, timeout=30, check=False
        )
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        fields = dict(line.split(": ", 1) for line in head.decode().split("\r\n") if line)
        self.send_response(int(fields.pop("Status", "200").split()[0]))
        for key, value in fields.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_POST = do_GET  # noqa: N815 its name in http.server

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 its name there
        """Write no access log."""


def _wait_for(port: int) -> None:
    end = time.monotonic() + TIMEOUT
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.02)
        else:
            return
