"""What counts as a failed unit, on real hosts."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from functools import partial
from typing import Any

import pytest

from components.pipeline.activation import runner
from components.pipeline.activation.protocol import State
from components.pipeline.evaluate.attribute import EvaluatedAttr
from components.pipeline.process.concurrency import background
from components.pipeline.values import Duration
from tests.e2e.host_faults import replaced
from tests.e2e.runner_hosts import PAUSES, RunnerHost, failure, service, unit_that_failed_before

pytestmark = pytest.mark.e2e

SETTLE = Duration("4s")
WIDE: dict[str, Any] = {"settle": Duration("10s")}
"""For a fault that is injected, and has to show itself, while the units settle."""
UNITS = "/run/systemd/system"


@contextmanager
def unit(host: RunnerHost, name: str, text: str, *, start: bool = True) -> Iterator[None]:
    """A unit that is no part of any release."""
    sh = partial(host.container.exec, "sh", "-ec")
    sh(f"printf '%s\\n' \"$1\" >{UNITS}/{name}; systemctl daemon-reload", "sh", text)
    if start:
        sh(f"systemctl start --no-block {name}")
    try:
        yield
    finally:
        sh(
            f"systemctl stop {name} || true; rm {UNITS}/{name}; systemctl daemon-reload;"
            f" systemctl reset-failed {name} || true"
        )


async def test_a_failed_unit(web1: RunnerHost, systems: dict[str, EvaluatedAttr]) -> None:
    message = await failure(web1.attempt(systems["failing"], systems["old"]))
    assert message.startswith(
        "not deployed: web1: unit broken.service failed: rolled back to the previous system\n"
    )
    assert "cannot read its configuration" in message
    assert message.endswith(
        f"it runs {systems['old'].out_path.path} now; fix the release, then run `pulumi up` again"
    )
    assert await web1.systems() == (systems["old"].out_path, systems["old"].out_path)
    assert (await web1.commit(systems["failing"]))[0] == 31


async def test_a_unit_that_keeps_restarting(
    web1: RunnerHost, systems: dict[str, EvaluatedAttr]
) -> None:
    message = await failure(web1.attempt(systems["looping"], systems["old"]))
    assert "unit looping.service failed: rolled back to the previous system" in message
    assert (await web1.systems())[0] == systems["old"].out_path


@pytest.mark.parametrize("settle", [Duration("0s"), SETTLE], ids=("no-settle", "settle"))
async def test_a_unit_that_had_failed_before_is_not_blamed(
    web1: RunnerHost, systems: dict[str, EvaluatedAttr], settle: Duration
) -> None:
    """It is between two runs during the first look; the activation names it, too."""
    async with unit_that_failed_before(web1) as unit:
        new = web1.attempt(systems["new"], systems["old"], settle=settle)
        assert await new.run() is State.AWAITING
        assert f"the following units failed: {unit}" in web1.log()
    assert new.failed_before == unit


RESTLESS = """[Unit]
StartLimitIntervalSec=0
[Service]
Type=exec
Restart=always
RestartSec=1
ExecStart=/bin/sh -c "sleep 1; exit 1"
"""


@contextmanager
def restless(host: RunnerHost, *, pause: int = 1) -> Iterator[str]:
    """A service that keeps restarting, `pause` s after a run of 1 s; yields its unit file."""
    sh, place = partial(host.container.exec, "sh", "-ec"), f"{UNITS}/restless.service"
    # A count that it does not reach again while it is looked at.
    sh(
        f"echo '{RESTLESS}' >{place}; sed -i s/RestartSec=1/RestartSec=0/ {place}; "
        "systemctl daemon-reload; systemctl start restless; "
        "until [ $(systemctl show --property=NRestarts --value restless) -ge 5 ]; do sleep 0.1; "
        f"done; sed -i s/RestartSec=0/RestartSec={pause}/ {place}; systemctl daemon-reload"
    )
    try:
        yield place
    finally:
        sh(f"systemctl stop restless; rm -f {place}; systemctl daemon-reload")


async def test_a_service_that_kept_restarting_before_is_not_blamed(
    web1: RunnerHost, systems: dict[str, EvaluatedAttr]
) -> None:
    """It may be between two starts during the check; a switch resets the restart counts."""
    with restless(web1):
        new = web1.attempt(systems["new"], systems["old"], settle=SETTLE)
        assert await new.run() is State.AWAITING


async def test_a_service_that_kept_restarting_long_before(
    web1: RunnerHost, systems: dict[str, EvaluatedAttr], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = runner.text().replace(b"\nRESTARTED_WITHIN=60 ", b"\nRESTARTED_WITHIN=-60 ")
    assert text != runner.text()
    monkeypatch.setattr(runner, "text", lambda: text)
    with restless(web1, pause=0):  # a unit between two runs is excused, whenever it was restarted
        message = await failure(web1.attempt(systems["new"], systems["old"], settle=SETTLE))
    assert "unit restless.service failed" in message


@asynccontextmanager
async def flapping(host: RunnerHost, systems: dict[str, EvaluatedAttr]) -> AsyncIterator[None]:
    """A host whose release has a service that keeps failing."""
    await host.ensure(systems["flapping"])
    sh = partial(host.container.exec, "sh", "-ec")
    count = "$(systemctl show --property=NRestarts --value flapping)"
    sh(f"touch /run/flaps; systemctl restart flapping; until [ {count} -ge 2 ]; do sleep 0.1; done")
    try:
        yield
    finally:
        sh("rm -f /run/flaps /run/dead")


@pytest.mark.parametrize("change", ["same", "changed"])
async def test_systemd_gives_up_on_a_service_that_kept_failing(
    web1: RunnerHost, systems: dict[str, EvaluatedAttr], change: str
) -> None:
    """It is the release's fault only if that has another definition of the service."""
    new = systems["flapping-too" if change == "same" else "flapping-changed"]
    async with flapping(web1, systems):
        one = web1.attempt(new, systems["flapping"], **WIDE)
        ends = failure(one) if change == "changed" else one.run()
        async with background(ends) as result:
            await _wait_for_state(web1, one.id, "checking")
            gives_up = "touch /run/dead; systemctl restart --no-block flapping"
            await asyncio.to_thread(web1.container.exec, "sh", "-ec", gives_up)
            end = await result
    if change == "changed":
        assert "unit flapping.service failed: rolled back to the previous system" in str(end)
    else:
        assert end is State.AWAITING
        assert one.failed_before == "flapping.service"


# --- a pause is no failure -------------------------------------------------------------------


@pytest.mark.parametrize("name", PAUSES)
async def test_a_service_that_pauses_by_design(
    web1: RunnerHost, systems: dict[str, EvaluatedAttr], name: str
) -> None:
    """It ends well and is started again: new with the release, then there before."""
    system = systems[f"pausing-{name}"]
    assert await web1.attempt(system, systems["old"], settle=SETTLE).run() is State.AWAITING
    assert (await web1.commit(system))[0] == 0
    with unit(web1, "poller.service", PAUSES[name]):
        await asyncio.sleep(1.5)
        new = web1.attempt(systems["old"], None, settle=SETTLE)
        assert await new.run() is State.AWAITING
        assert (await web1.commit(systems["old"]))[0] == 0


async def test_without_settle_a_pause_is_no_failure_either(
    web1: RunnerHost, systems: dict[str, EvaluatedAttr]
) -> None:
    with unit(web1, "poller.service", PAUSES["status"]):
        await asyncio.sleep(1.5)
        assert (await web1.observe()).failed == ()
        assert await web1.attempt(systems["new"], systems["old"]).run() is State.AWAITING


BROKEN = (
    service(
        "Type=exec", "Restart=always", "RestartSec=60", "ExecStart=/bin/sh -c 'sleep 1; exit 1'"
    ),
    service("Type=oneshot", "Restart=on-failure", "RestartSec=60", "ExecStart=/bin/false"),
    service(
        "Type=exec", "Restart=always", "RestartSec=60",
        "ExecStartPre=/bin/false", "ExecStart=/bin/sleep 1",
    ),
    service(
        "Type=exec", "Restart=always", "RestartSec=60",
        "ExecStart=/bin/sh -c 'sleep 1; kill -9 $$$$'",
    ),
)  # fmt: skip


@pytest.mark.parametrize("text", BROKEN, ids=("status", "oneshot", "start-pre", "signal"))
async def test_a_pause_after_a_failure_is_one(
    web1: RunnerHost, systems: dict[str, EvaluatedAttr], text: str
) -> None:
    new = web1.attempt(systems["new"], systems["old"], **WIDE)
    with unit(web1, "poller.service", text, start=False):
        async with background(failure(new)) as result:
            await _wait_for_state(web1, new.id, "checking")
            await asyncio.to_thread(
                web1.container.exec, "systemctl", "start", "--no-block", "poller"
            )
            assert "unit poller.service failed" in await result


async def test_a_service_that_paused_by_design_and_fails_now(
    web1: RunnerHost, systems: dict[str, EvaluatedAttr]
) -> None:
    """That it restarted before excuses no failure."""
    with unit(web1, "poller.service", PAUSES["short"]):
        await asyncio.sleep(5)
        new = web1.attempt(systems["new"], systems["old"], **WIDE)
        async with background(failure(new)) as result:
            await _wait_for_state(web1, new.id, "checking")
            fails = f"sed -i 's,/bin/sleep 1,/bin/false,' {UNITS}/poller.service"
            await asyncio.to_thread(
                web1.container.exec, "sh", "-ec", f"{fails}; systemctl daemon-reload"
            )
            assert "unit poller.service failed" in await result


async def _wait_for_state(host: RunnerHost, attempt: str, state: str) -> None:
    file = f"/nix/var/flakeup/attempts/{attempt}/state"
    wait = f"until grep -qx {state} {file} 2>/dev/null; do sleep 0.05; done"
    await asyncio.to_thread(host.container.exec, "sh", "-ec", wait)


# --- what PID 1 says -------------------------------------------------------------------------

SYSTEMCTL = """#!/bin/sh
[ "$1" != list-units ] || [ ! -e /run/silent ] || exit 1
exec /usr/bin/systemctl.real "$@"
"""


@pytest.fixture
def silent(web1: RunnerHost) -> Iterator[RunnerHost]:
    """A host whose systemctl lists no units while /run/silent is there."""
    sh = partial(web1.container.exec, "sh", "-ec")
    sh(
        'cp -a /usr/bin/systemctl /usr/bin/systemctl.real; printf %s "$1" >/usr/bin/systemctl.new;'
        " chmod 755 /usr/bin/systemctl.new; mv /usr/bin/systemctl.new /usr/bin/systemctl",
        "sh",
        SYSTEMCTL,
    )
    try:
        yield web1
    finally:
        sh("rm -f /run/silent; mv /usr/bin/systemctl.real /usr/bin/systemctl")


def silent_once_activated(host: RunnerHost, system: EvaluatedAttr) -> AbstractContextManager[None]:
    """systemctl is silent from the system's activation on, before anything can be checked."""
    activate = f"{system.out_path.path}/activate"
    return replaced(host, activate, '$original "$@" || exit; touch /run/silent')


async def test_silence_is_no_verdict(silent: RunnerHost, systems: dict[str, EvaluatedAttr]) -> None:
    """It is asked until the deadline; then the host goes back."""
    new = silent.attempt(systems["slow"], systems["old"], check_deadline=Duration("4s"))
    with silent_once_activated(silent, systems["slow"]):
        message = await failure(new)
    assert "systemd did not say within 4 s which units failed: rolled back" in message
    assert (await silent.systems())[0] == systems["old"].out_path


async def test_an_answer_before_the_deadline_is_one(
    silent: RunnerHost, systems: dict[str, EvaluatedAttr]
) -> None:
    new = silent.attempt(systems["slow"], systems["old"], settle=Duration("2s"))
    with silent_once_activated(silent, systems["slow"]):
        async with background(new.run()) as result:
            await _wait_for_state(silent, new.id, "checking")
            await asyncio.sleep(3)
            silent.container.exec("rm", "/run/silent")
            assert await result is State.AWAITING


async def test_nothing_is_begun_where_systemd_is_silent(
    silent: RunnerHost, systems: dict[str, EvaluatedAttr]
) -> None:
    silent.container.exec("touch", "/run/silent")
    attempts = silent.attempts()
    assert await failure(silent.attempt(systems["new"], systems["old"])) == (
        "not deployed: web1: refused: systemd did not say which units have failed. "
        "nothing was changed"
    )
    assert silent.attempts() == attempts


async def test_a_unit_of_flakeups_own_flake_counts(
    web1: RunnerHost, systems: dict[str, EvaluatedAttr]
) -> None:
    """Only the attempt's own units are left out, not all that are called flakeup-*."""
    new = web1.attempt(systems["new"], systems["old"], **WIDE)
    text = service("Type=oneshot", "ExecStart=/bin/false")
    with unit(web1, "flakeup-boot-guard.service", text, start=False):
        async with background(failure(new)) as result:
            await _wait_for_state(web1, new.id, "checking")
            start = ("systemctl", "start", "--no-block", "flakeup-boot-guard")
            await asyncio.to_thread(web1.container.exec, *start)
            assert "unit flakeup-boot-guard.service failed" in await result


# --- units that may fail -----------------------------------------------------------------------


@pytest.mark.parametrize("pattern", ["fetch-news.service", "fetch-*.service"])
async def test_a_unit_that_may_fail(
    web1: RunnerHost, systems: dict[str, EvaluatedAttr], pattern: str
) -> None:
    new = web1.attempt(
        systems["new"], systems["old"], settle=Duration("2s"), may_fail=(pattern, "x.timer")
    )
    text = service("Type=oneshot", "ExecStart=/bin/false")
    with unit(web1, "fetch-news.service", text, start=False):
        async with background(new.run()) as result:
            await _wait_for_state(web1, new.id, "checking")
            start = ("systemctl", "start", "--no-block", "fetch-news")
            await asyncio.to_thread(web1.container.exec, *start)
            assert await result is State.AWAITING
        assert "fetch-news.service" in (await web1.observe()).failed


async def test_another_unit_may_not_fail(
    web1: RunnerHost, systems: dict[str, EvaluatedAttr]
) -> None:
    new = web1.attempt(
        systems["failing"], systems["old"], may_fail=("broken.timer", "oken.service", "b.*")
    )
    assert "unit broken.service failed" in await failure(new)
