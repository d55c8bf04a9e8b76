"""A host for attempts: an `ssh` executable that answers as the runner would."""

import json
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pytest

from components.pipeline.activation import attempt, protocol
from components.pipeline.activation.attempt import Attempt
from components.pipeline.activation.request import AttemptRequest
from components.pipeline.config.activation import Activation
from components.pipeline.errors import ActivationError, FlakeupError
from components.pipeline.transport.ssh import Ssh
from components.pipeline.transport.ssh_files import SshFiles
from tests.unit.hosts import host, toplevel

OLD, NEW, OTHER = toplevel("a"), toplevel("b"), toplevel("c")
ID = "20260102T030405-0123abcd"
SSH = """\
#!/bin/sh
# Counts its calls, records its arguments, and does what is prepared for this call.
cd "$(dirname "$0")" || exit
number=$(($(cat number) + 1))
echo "$number" >number
for last; do :; done
printf '%s' "$last" >"argv.$number"
cat >"stdin.$number"
[ -e "answer.$number" ] || number=last
. "./answer.$number"
"""


def line(event: str, **fields: object) -> str:
    return json.dumps({"schema": 1, "event": event} | fields)


STARTED = line("started", id=ID, old=OLD.path, new=NEW.path)
ABORTED = line("refused", reason="not awaiting confirmation", state="activating")
NO_ROUTE = "echo 'ssh: connect to host 192.0.2.10 port 22: No route to host' >&2"


def result(state: str, **fields: object) -> str:
    """The result of an attempt in these tests: the host runs NEW if it waits, otherwise OLD."""
    current = NEW if state in protocol.CONFIRMABLE else OLD
    own = {"id": ID, "state": state, "old": OLD.path, "new": NEW.path, "current": current.path}
    return line("result", **(own | fields))


WAITS = result("awaiting-confirm", offset="90")
REQUEST = AttemptRequest(activation=Activation(), by="me@laptop (pid 7)", release="appRef v1")

Make = Callable[..., Attempt]


@dataclass
class Host:
    """The fake's replies, call by call, and the arguments of each call."""

    folder: Path

    def answers(self, *lines: str, code: int = 0, then: str = "") -> None:
        count = len(list(self.folder.glob("answer.[0-9]*")))
        text = "".join(f"cat <<'END'\n{one}\nEND\n" for one in lines)
        (self.folder / f"answer.{count + 1}").write_text(f"{text}{then}\nexit {code}\n")

    def always(self, script: str) -> None:
        (self.folder / "answer.last").write_text(script)

    def arguments(self) -> list[list[str]]:
        """The arguments of each call."""
        texts = [(self.folder / f"argv.{n}").read_text() for n in range(1, self.calls + 1)]
        return [shlex.split(text) for text in texts]

    @property
    def verbs(self) -> list[list[str]]:
        """The arguments of each call after those that publish the runner."""
        return [words[words.index("flakeup") + 3 :] for words in self.arguments()]

    def stdin(self, call: int) -> bytes:
        return (self.folder / f"stdin.{call}").read_bytes()

    @property
    def calls(self) -> int:
        return int((self.folder / "number").read_text())


@pytest.fixture
def web1(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "ssh").write_text(SSH)
    (folder / "ssh").chmod(0o755)
    (folder / "number").write_text("0")
    (folder / "answer.last").write_text("echo 'one call too many' >&2; exit 255\n")
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    monkeypatch.setattr(attempt, "PAUSE", 0.01)
    return Host(folder)


@pytest.fixture
def progress() -> list[str]:
    """The progress of the attempts of `make`."""
    return []


@pytest.fixture
def make(progress: list[str]) -> Make:
    """Creates attempts on `web1`."""

    def made(*, user: str = "root", request: AttemptRequest = REQUEST) -> Attempt:
        identity = SshFiles(known_hosts=PurePosixPath("known_hosts"), key=None)
        ssh = Ssh.of(host(user=user), identity)
        return Attempt(
            transport=ssh, old=OLD, new=NEW, request=request, progress=progress.append, id=ID
        )

    return made


async def failure(one: Attempt, kind: type[FlakeupError] = ActivationError) -> str:
    with pytest.raises(kind) as caught:
        await one.run()
    assert type(caught.value) is kind, repr(caught.value)
    return str(caught.value)
