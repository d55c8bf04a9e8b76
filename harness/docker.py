"""The Docker daemon that tools/bootstrap has found or started, and the demo's stack in it."""

import json
import threading
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlencode

import httpx

from harness.incus import HarnessError, bootstrap_parts

OWNED = "flakeup.owner"
"""Label of what the program made: the stack that it is of."""
PORT = 18080
"""The edge's, in Pulumi.dev.yaml."""
URL = f"http://127.0.0.1:{PORT}/"
TIMEOUT = 30.0
EVERY = 0.02
"""Seconds between two requests of a client that keeps asking."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Docker:
    """A daemon, and HAProxy as a layer of an image."""

    socket: str
    layer: Path

    @classmethod
    def ready(cls) -> Self:
        """What tools/bootstrap has made.

        Raises:
            HarnessError: Docker cannot be had on this machine, and why.
        """
        parts = bootstrap_parts()
        for name in ("docker", "edge"):
            if parts[name]["state"] != "ready":
                msg = f"no {name} here: {parts[name]['reason']}; {parts[name]['remedy']}"
                raise HarnessError(msg)
        socket = str(parts["docker"]["host"]).removeprefix("unix://")
        return cls(socket=socket, layer=Path(parts["edge"]["layer"]))

    def remove(self, owner: str) -> list[str]:
        """Delete the containers and networks of a stack; gives their names."""
        filters = json.dumps({"label": [f"{OWNED}={owner}"]})
        query = urlencode({"all": "1", "filters": filters})
        gone = []
        for one in self._call("GET", f"/containers/json?{query}"):
            self._call("DELETE", f"/containers/{one['Id']}?force=1&v=1")
            gone.append(str(one["Names"][0]).removeprefix("/"))
        for one in self._call("GET", f"/networks?{query}"):
            self._call("DELETE", f"/networks/{one['Id']}")
            gone.append(str(one["Name"]))
        return gone

    def _call(self, method: str, path: str) -> Any:
        transport = httpx.HTTPTransport(uds=self.socket)
        with httpx.Client(transport=transport, timeout=TIMEOUT) as client:
            answer = client.request(method, f"http://docker{path}")
        if answer.is_error:
            msg = f"docker: {method} {path.partition('?')[0]}: {answer.text.strip()[:300]}"
            raise HarnessError(msg)
        return answer.json() if answer.content else None


def ask(*, timeout: float = 5.0) -> str:
    """What the container answers, by way of the edge.

    Raises:
        HarnessError: it does not.
    """
    try:
        with urllib.request.urlopen(URL, timeout=timeout) as answer:
            text: str = answer.read(65536).decode(errors="replace").strip()
            return text
    except OSError as error:
        msg = f"{URL}: {error}"
        raise HarnessError(msg) from None


@dataclass(slots=True)
class Asking:
    """A client that asks the edge all the time, from the beginning of a block to its end."""

    answered: int = 0
    lost: list[str] = field(default_factory=list)
    _ended: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._ask, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._ended.set()
        if self._thread:
            self._thread.join(TIMEOUT)

    def _ask(self) -> None:
        while not self._ended.is_set():
            try:
                ask()
                self.answered += 1
            except HarnessError as error:
                self.lost.append(str(error))
            time.sleep(EVERY)
