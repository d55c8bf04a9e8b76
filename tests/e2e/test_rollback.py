"""A rollback goes on until OLD runs."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from components.pipeline.activation import protocol
from components.pipeline.activation.protocol import State
from components.pipeline.config.activation import Mode
from components.pipeline.evaluate.attribute import EvaluatedAttr
from components.pipeline.process.run import run
from tests.e2e.host_faults import (
    Systems,
    expire,
    failing,
    held_lock,
    is_on,
    reason,
    replaced,
    sh,
    trouble,
    wait_for,
)
from tests.e2e.runner_hosts import (
    LOCK,
    RunnerHost,
    failure,
    wait_until_booted,
    wait_until_idle,
)

pytestmark = pytest.mark.e2e


async def test_a_rollback_goes_on_until_old_runs(web1: RunnerHost, systems: Systems) -> None:
    await web1.attempt(systems["new"], systems["old"]).run()
    with held_lock(web1):
        expire(web1)
        await wait_for(web1, State.ROLLBACK_FAILED)
        assert (await web1.systems())[0] == systems["new"].out_path
    await wait_for(web1, State.ROLLED_BACK)
    assert await is_on(web1, systems["old"])
    await wait_until_idle(web1)


async def test_what_has_failed_is_not_committed_by_a_second_try(
    web1: RunnerHost, systems: Systems
) -> None:
    """And a fixed release is: neither needs a clean-up by hand."""
    async with stranded(web1, systems):
        await failure(web1.attempt(systems["failing"], systems["old"]))
    await wait_for(web1, State.ROLLED_BACK)
    assert await is_on(web1, systems["old"])

    async with stranded(web1, systems):
        assert await web1.attempt(systems["new"], systems["old"]).run() is State.AWAITING
    assert (await web1.commit(systems["new"]))[0] == 0
    assert await is_on(web1, systems["new"])


def switch_program(system: EvaluatedAttr) -> str:
    return f"{system.out_path.path}/bin/switch-to-configuration"


@asynccontextmanager
async def stranded(host: RunnerHost, systems: Systems) -> AsyncIterator[None]:
    """`failing` runs during the block, while each try to roll back to `old` fails."""
    fails = '[ "$1" != test ] || exit 1; exec $original "$@"'
    with replaced(host, switch_program(systems["old"]), fails):
        await failure(host.attempt(systems["failing"], systems["old"]))
        await wait_for(host, State.ROLLBACK_FAILED)
        yield


async def test_a_takeover_that_fails_early_goes_back_to_the_first_old(
    web1: RunnerHost, systems: Systems
) -> None:
    """The second release never runs: what it finds is what the first one has left."""
    fails = '[ "$1" != test ] || exit 9; exec $original "$@"'
    async with stranded(web1, systems):
        with replaced(web1, switch_program(systems["new"]), fails):
            await failure(web1.attempt(systems["new"], systems["old"]))
    await wait_for(web1, State.ROLLED_BACK)
    assert await is_on(web1, systems["old"])
    await wait_until_idle(web1)


async def test_mode_boot_does_not_end_a_rollback_that_goes_on(
    web1: RunnerHost, systems: Systems
) -> None:
    async with stranded(web1, systems):
        message = await failure(web1.attempt(systems["new"], systems["old"], mode=Mode.BOOT))
        assert "its last rollback has failed, and goes on" in message
    await wait_for(web1, State.ROLLED_BACK)
    assert await is_on(web1, systems["old"])


async def test_a_service_that_pauses_does_not_keep_a_rollback_going(
    web1: RunnerHost, systems: Systems
) -> None:
    """OLD's own service ends well once a second, and may be between two runs after the rollback."""
    old = systems["pausing-short"]
    await web1.ensure(old)
    for _ in range(3):
        message = await failure(web1.attempt(systems["failing"], old))
        assert "rolled back to the previous system" in message
        assert await is_on(web1, old)


async def boot_id(host: RunnerHost) -> str:
    """Empty while the host does not answer."""
    argv = host.ssh.argv("cat", "/proc/sys/kernel/random/boot_id")
    return (await run(argv, timeout=30, check=False)).stdout.decode().strip()


async def test_a_reboot_as_the_last_resort(web1: RunnerHost, systems: Systems) -> None:
    boot = await boot_id(web1)
    one = web1.attempt(systems["new"], systems["old"], reboot_on_failed_rollback=True)
    await one.run()
    with held_lock(web1):
        expire(web1)
        end = time.monotonic() + 120
        while await boot_id(web1) in ("", boot):
            assert time.monotonic() < end, reason(web1)
            await asyncio.sleep(0.5)
    await wait_until_booted(web1)
    assert await is_on(web1, systems["old"])
    last = await one.abort("asked again")
    assert last
    assert last.state is State.ROLLED_BACK


async def test_a_silent_systemd_is_no_end(web1: RunnerHost, systems: Systems) -> None:
    await web1.attempt(systems["new"], systems["old"]).run()
    with failing(web1, "systemctl", "*Id,ActiveState*"):
        expire(web1)
        await wait_for(web1, State.ROLLBACK_FAILED)
        assert trouble(web1) == "not active any more: systemd does not answer"
    await wait_for(web1, State.ROLLED_BACK)
    assert await is_on(web1, systems["old"])


async def test_a_state_that_cannot_be_written_does_not_end_a_rollback(
    web1: RunnerHost, systems: Systems
) -> None:
    """As on a full disk, while the rollback fails for another reason."""
    await web1.attempt(systems["new"], systems["old"]).run()
    with held_lock(web1):
        sh(web1, "mkdir /nix/var/flakeup/current/state.tmp")
        expire(web1)
        await asyncio.sleep(5)
        assert (await web1.systems())[0] == systems["new"].out_path
        sh(web1, "rmdir /nix/var/flakeup/current/state.tmp")
    await wait_for(web1, State.ROLLED_BACK)
    assert await is_on(web1, systems["old"])


async def test_an_abort_after_a_reboot_answers_at_once(web1: RunnerHost, systems: Systems) -> None:
    one = web1.attempt(systems["new"], systems["old"])
    await one.run()
    web1.container.incus.call("restart", web1.container.instance, "--force")
    await wait_until_booted(web1)
    began = time.monotonic()
    last = await one.abort("the check failed")
    assert last
    assert (last.state, last["reason"]) == (State.ROLLED_BACK, "the host was rebooted")
    assert time.monotonic() - began < 10


async def test_the_lock_of_nixos_is_closed_to_others(web1: RunnerHost, systems: Systems) -> None:
    sh(web1, f"rm -f {LOCK}; touch {LOCK}; chmod 0644 {LOCK}")
    await web1.attempt(systems["new"], systems["old"]).run()
    assert web1.container.query("stat", "-c", "%a %U", LOCK).strip() == "600 root"
    assert (await web1.call_runner(protocol.RUNNER_PATH, systems["new"].out_path.path))[0] == 0


async def test_a_unit_that_has_nothing_left_to_do_is_no_difference(
    web1: RunnerHost, systems: Systems
) -> None:
    old = systems["ending"]
    await web1.ensure(old)
    sh(web1, "systemctl start ending; systemctl is-active ending")
    one = web1.attempt(systems["new"], old)
    await one.run()
    sh(web1, "touch /run/done")
    try:
        last = await one.abort("seen enough")
        assert last
        assert last.state is State.ROLLED_BACK, trouble(web1)
    finally:
        sh(web1, "rm -f /run/done")
    assert await is_on(web1, old)
