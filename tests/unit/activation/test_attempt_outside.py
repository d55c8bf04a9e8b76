"""Checks from the deployer, and aborting."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import PurePosixPath

import pytest

from components.pipeline.activation import attempt, runner
from components.pipeline.activation.protocol import State
from components.pipeline.activation.request import AttemptRequest
from components.pipeline.config.activation import Activation
from components.pipeline.config.checks import CheckOrigin
from components.pipeline.config.jumps import Jump
from components.pipeline.errors import ActivationError
from components.pipeline.transport.ssh import Ssh
from components.pipeline.transport.ssh_files import SshFiles
from components.pipeline.values import Duration, HostAddress
from tests.unit.activation.attempt_host import (
    ID,
    NEW,
    NO_ROUTE,
    OLD,
    STARTED,
    WAITS,
    Host,
    Make,
    failure,
    line,
    result,
)
from tests.unit.hosts import HOST_KEY, check, host


class Answer(BaseHTTPRequestHandler):
    """A site that answers with `server.status`."""

    def do_GET(self) -> None:
        self.server.seen.append(self.path)  # type: ignore[attr-defined]
        self.send_response(self.server.status)  # type: ignore[attr-defined]
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Site(HTTPServer):
    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.status = 200
        self.seen: list[str] = []

    @property
    def request(self) -> AttemptRequest:
        url = f"http://127.0.0.1:{self.server_port}/here"
        outside = check("outside", target=url, origin=CheckOrigin.DEPLOYER)
        on_host = check("inside", target=f"http://127.0.0.1:{self.server_port}/host")
        return AttemptRequest(activation=Activation(), checks=(on_host, outside))


@pytest.fixture
def site() -> Iterator[Site]:
    with Site() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


async def test_a_healthy_site_is_confirmed(
    web1: Host, make: Make, progress: list[str], site: Site
) -> None:
    web1.answers(STARTED, line("state", state="awaiting-confirm"), WAITS)
    assert await make(request=site.request).run() is State.AWAITING
    assert site.seen == ["/here"]
    assert progress == ["awaiting-confirm", "checking from the deployer"]
    assert web1.calls == 1


async def test_a_failed_check_rolls_the_host_back(web1: Host, make: Make, site: Site) -> None:
    site.status = 500
    why = "check outside: expected status 200, got 500 (from the deployer)"
    web1.answers(STARTED, WAITS)
    web1.answers(result("rolled-back", exit="21", reason=why), code=21)
    assert await failure(make(request=site.request)) == (
        f"not deployed: web1: {why}: rolled back to the previous system."
        f" it runs {OLD.path} now; fix the release, then run `pulumi up` again"
    )
    assert web1.verbs[1:] == [["abort", ID, why]]


async def test_a_failed_check_says_that_it_does_not_go_through_a_jump(
    web1: Host, make: Make, site: Site
) -> None:
    site.status = 500
    web1.answers(STARTED, WAITS)
    web1.answers(result("rolled-back", exit="21"), code=21)
    one = make(request=site.request)
    jump = Jump(address=HostAddress.parse("bastion.example.org"), host_key=HOST_KEY)
    behind = replace(host(), proxy_jump=(jump,))
    one.transport = Ssh.of(behind, SshFiles(known_hosts=PurePosixPath("known_hosts"), key=None))
    assert "got 500 (from the deployer, not through its jump): rolled back" in await failure(one)


async def test_a_failed_check_of_a_host_that_cannot_be_told(
    web1: Host, make: Make, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is called until it must have rolled back by itself."""
    monkeypatch.setattr(attempt, "GRACE", 0)
    site.status = 500
    web1.answers(STARTED, WAITS)
    web1.always(f"{NO_ROUTE}; exit 255\n")
    times = Activation(confirm=Duration("6s"), timeout=Duration("1s"))
    assert await failure(make(request=replace(site.request, activation=times))) == (
        "not deployed: web1: check outside: expected status 200, got 500 (from the deployer)."
        " the host could not be told; its own timer rolls it back;"
        " fix the release, then run `pulumi up` again"
    )
    assert web1.calls > 5


@pytest.mark.parametrize("confirm", ["6s", "1s"])
async def test_deployer_checks_leave_time_to_commit(web1: Host, make: Make, confirm: str) -> None:
    """5 s of `confirm` are reserved for the commit; the checks get at least 1 s."""
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        target = f"http://127.0.0.1:{deaf.getsockname()[1]}/"
        outside = check("outside", target=target, origin=CheckOrigin.DEPLOYER)
        times = Activation(confirm=Duration(confirm))
        web1.answers(STARTED, WAITS)
        web1.answers(result("rolled-back", exit="21"), code=21)
        began = time.monotonic()
        await failure(make(request=AttemptRequest(activation=times, checks=(outside,))))
    assert time.monotonic() - began >= 1
    assert web1.verbs[1][2].startswith("check outside: still failing after 1 s")


@pytest.mark.parametrize(
    "last",
    [
        result("rolled-back", exit="20"),
        line("blocked", reason="why"),
        line("unchanged", new=NEW.path),
    ],
    ids=["rolled back", "blocked", "unchanged"],
)
async def test_a_host_that_does_not_wait_is_not_checked(
    web1: Host, make: Make, site: Site, last: str
) -> None:
    web1.answers(last)
    with contextlib.suppress(ActivationError):
        await make(request=site.request).run()
    assert site.seen == []
    assert web1.calls == 1


async def test_a_failed_check_after_the_commit_is_too_late(
    web1: Host, make: Make, site: Site
) -> None:
    site.status = 500
    web1.answers(STARTED, result("committed", current=NEW.path))
    assert await make(request=site.request).run() is State.COMMITTED
    assert site.seen == []


# --- abort ---------------------------------------------------------------------------------


async def test_aborting_waits_for_a_final_state(web1: Host, make: Make) -> None:
    """A commit in progress, and a lock held by another call, are not final."""
    web1.answers(line("refused", reason="not awaiting confirmation", state="committing"), code=31)
    web1.answers(line("refused", reason="another flakeup call holds the lock"), code=75)
    web1.answers(line("progress", state="rolling-back", offset="0"), code=10)
    web1.answers(result("rolled-back", exit="24"), code=24)
    last = await make().abort_and_wait("why")
    assert last
    assert last.state is State.ROLLED_BACK
    assert web1.calls == 4


async def test_abort(web1: Host, make: Make) -> None:
    web1.answers(result("rolled-back", exit="21"), code=21)
    last = await make().abort("the commit could not be sent")
    assert last is not None
    assert (last.state, last.path("current")) == (State.ROLLED_BACK, OLD)
    assert web1.verbs == [["abort", ID, "the commit could not be sent"]]
    assert web1.stdin(1) == runner.text()


async def test_an_unreachable_host_is_rolled_back_by_its_own_timer(web1: Host, make: Make) -> None:
    web1.always("exit 255\n")
    assert await make().abort("why") is None
    assert web1.calls == 1
