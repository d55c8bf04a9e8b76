"""The deadlines of an attempt: nobody moves them, and none is used up."""

import asyncio
import time
from contextlib import suppress

import pytest

from components.pipeline.activation.protocol import State
from components.pipeline.errors import ActivationError, ReplyError
from components.pipeline.values import Duration
from tests.e2e.host_faults import (
    CURRENT,
    EXPIRE,
    UNCONFIRMED,
    Systems,
    expire,
    failing,
    is_on,
    reason,
    sh,
    wait_for,
)
from tests.e2e.runner_hosts import RunnerHost, wait_until_booted, wait_until_idle

pytestmark = pytest.mark.e2e


async def wait_for_soft_reboot(host: RunnerHost, began: str) -> None:
    """Until PID 1's userspace began after `began`; a command on the host may end with it."""
    end = time.monotonic() + 40
    while userspace_began(host) in ("", began):
        assert time.monotonic() < end, "it was not rebooted"
        await asyncio.sleep(0.2)


def userspace_began(host: RunnerHost) -> str:
    """In µs of the monotonic clock; empty while the host does not answer."""
    show = ("systemctl", "show", "--property=UserspaceTimestampMonotonic", "--value")
    done = host.container.incus.attempt("exec", host.container.instance, "-T", "--", *show)
    return "" if done.returncode else done.stdout.strip()


async def test_a_soft_reboot_rolls_back(web1: RunnerHost, systems: Systems) -> None:
    """/run stays, so NixOS goes on with NEW; the attempt's timers are gone."""
    await web1.attempt(systems["new"], systems["old"], confirm=Duration("10m")).run()
    began = userspace_began(web1)
    assert began
    web1.container.exec("systemctl", "soft-reboot", "--no-block")
    await wait_for_soft_reboot(web1, began)
    await wait_until_booted(web1)
    await wait_for(web1, State.ROLLED_BACK)
    assert reason(web1) == "the host was soft-rebooted"
    assert await is_on(web1, systems["old"])


async def test_isolate_leaves_the_guard(web1: RunnerHost, systems: Systems) -> None:
    await web1.attempt(systems["new"], systems["old"]).run()
    sh(web1, "systemctl isolate multi-user.target")
    sh(web1, f"systemctl is-active {UNCONFIRMED}.timer")
    expire(web1)
    await wait_for(web1, State.ROLLED_BACK)
    assert await is_on(web1, systems["old"])


async def test_reloads_do_not_move_the_deadline(web1: RunnerHost, systems: Systems) -> None:
    sh(
        web1,
        "systemd-run -q --unit=reloads --collect"
        " sh -c 'while sleep 0.5; do systemctl daemon-reload; done'",
    )
    try:
        # A slow test finds it rolled back already.
        with suppress(ActivationError, ReplyError):
            await web1.attempt(systems["new"], systems["old"], confirm=Duration("5s")).run()
        await wait_for(web1, State.ROLLED_BACK)
        assert reason(web1) == "not confirmed in time"
    finally:
        sh(web1, "systemctl stop reloads")
    assert await is_on(web1, systems["old"])


# --- a slow disk -------------------------------------------------------------------------------


async def test_a_state_written_after_its_deadline_does_not_use_it_up(
    web1: RunnerHost, systems: Systems
) -> None:
    """The confirmation's timer fires while the state that it belongs to is being written."""
    slow = f"! grep -qs awaiting-confirm {CURRENT}/state.tmp || sleep 6"
    with failing(web1, "sync", "*state.tmp*", slow), suppress(ActivationError, ReplyError):
        await web1.attempt(systems["new"], systems["old"], confirm=Duration("2s")).run()
    await wait_for(web1, State.ROLLED_BACK)
    assert await is_on(web1, systems["old"])


async def test_a_commit_begun_after_its_deadline_does_not_use_it_up(
    web1: RunnerHost, systems: Systems
) -> None:
    """And the commit's own."""
    new, slow = systems["new"], f"! grep -qs committing {CURRENT}/state.tmp || sleep 10"
    await web1.attempt(new, systems["old"], commit=Duration("1s"), timeout=Duration("20s")).run()
    with failing(web1, "sync", "*state.tmp*", slow):
        commit = asyncio.ensure_future(web1.commit(new))
        await wait_for(web1, State.ROLLED_BACK)
        assert (await commit)[0] == 24
    assert await is_on(web1, systems["old"])


async def test_a_commit_whose_sync_outlasts_the_deadline_is_refused(
    web1: RunnerHost, systems: Systems
) -> None:
    await web1.attempt(systems["new"], systems["old"]).run()
    expires = f"{EXPIRE}; until grep -qx rolled-back {CURRENT}/state; do sleep 0.2; done"
    with failing(web1, "sync", "-f*", expires):
        code, reply = await web1.commit(systems["new"])
    assert (code, reply["reason"]) == (
        31,
        "its attempt has ended: rolled-back: not confirmed in time",
    )
    assert await is_on(web1, systems["old"])


async def test_a_commit_whose_sync_hangs_is_rolled_back(web1: RunnerHost, systems: Systems) -> None:
    await web1.attempt(systems["new"], systems["old"], commit=Duration("3s")).run()
    with failing(web1, "sync", "-f*", f"! grep -qx committing {CURRENT}/state || sleep 60"):
        code, reply = await web1.commit(systems["new"])
    assert code == 24
    assert reply.state in {State.ROLLED_BACK, State.ROLLBACK_FAILED}  # it goes on
    await wait_for(web1, State.ROLLED_BACK)
    assert await is_on(web1, systems["old"])
    await wait_until_idle(web1)
