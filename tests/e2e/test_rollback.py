"""A rollback goes on until OLD runs, and leaves what somebody else has decided."""

import asyncio
import time

import pytest

from components.pipeline.activation import protocol
from components.pipeline.activation.protocol import State
from components.pipeline.config.activation import Mode
from components.pipeline.evaluate.attribute import EvaluatedAttr
from components.pipeline.process.run import run
from tests.e2e.host_faults import (
    CURRENT,
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
    await fail_and_stay(web1, systems)
    await failure(web1.attempt(systems["failing"], systems["old"]))
    await wait_for(web1, State.ROLLED_BACK)
    assert await is_on(web1, systems["old"])

    await fail_and_stay(web1, systems)
    assert await web1.attempt(systems["new"], systems["old"]).run() is State.AWAITING
    assert (await web1.commit(systems["new"]))[0] == 0
    assert await is_on(web1, systems["new"])


async def hold_lock_once_active(host: RunnerHost, system: EvaluatedAttr) -> None:
    """Queue for NixOS's lock, which then is not there for the rollback."""
    await asyncio.to_thread(
        sh,
        host,
        f"until [ $(readlink /run/current-system) = {system.out_path.path} ]; do sleep 0.05; done; "
        f"systemd-run -q --unit=holder --collect flock {LOCK} sleep 600",
    )


async def fail_and_stay(host: RunnerHost, systems: Systems) -> None:
    """Leave `failing` running, with a rollback to `old` that goes on."""
    lock = asyncio.create_task(hold_lock_once_active(host, systems["failing"]))
    await failure(host.attempt(systems["failing"], systems["old"]))
    await lock
    await wait_for(host, State.ROLLBACK_FAILED)
    sh(host, "systemctl stop holder")


async def test_a_takeover_that_fails_early_goes_back_to_the_first_old(
    web1: RunnerHost, systems: Systems
) -> None:
    """The second release never runs: what it finds is what the first one has left."""
    await fail_and_stay(web1, systems)
    program = f"{systems['new'].out_path.path}/bin/switch-to-configuration"
    with replaced(web1, program, '[ "$1" != test ] || exit 9; exec /nix/original "$@"'):
        await failure(web1.attempt(systems["new"], systems["old"]))
    await wait_for(web1, State.ROLLED_BACK)
    assert await is_on(web1, systems["old"])
    await wait_until_idle(web1)


async def test_mode_boot_does_not_end_a_rollback_that_goes_on(
    web1: RunnerHost, systems: Systems
) -> None:
    await fail_and_stay(web1, systems)
    message = await failure(web1.attempt(systems["new"], systems["old"], mode=Mode.BOOT))
    assert "its last rollback has failed, and goes on" in message
    await wait_for(web1, State.ROLLED_BACK)
    assert await is_on(web1, systems["old"])


async def test_another_release_after_a_torn_commit(web1: RunnerHost, systems: Systems) -> None:
    """Power was cut between the profile and the boot loader; the next release is another one."""
    new = systems["new"].out_path.path
    await web1.attempt(systems["new"], systems["old"]).run()
    sh(
        web1,
        "cd /nix/var/flakeup/current; echo committing >state; echo yes >touched;"
        f" nix-env -p /nix/var/nix/profiles/system --set {new}; sync",
    )
    web1.container.incus.call("restart", web1.container.instance, "--force")
    await wait_until_booted(web1)
    assert (await web1.systems())[0] == systems["old"].out_path
    assert "broken.service" in await failure(web1.attempt(systems["failing"], systems["old"]))
    await wait_for(web1, State.ROLLED_BACK)
    assert await is_on(web1, systems["old"])
    assert await web1.attempt(systems["other"], systems["old"]).run() is State.AWAITING
    assert (await web1.commit(systems["other"]))[0] == 0
    assert await is_on(web1, systems["other"])


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


async def test_a_system_that_somebody_else_activates_is_left(
    web1: RunnerHost, systems: Systems
) -> None:
    other = systems["other"].out_path
    await web1.attempt(systems["new"], systems["old"]).run()
    sh(web1, f"{other.path}/bin/switch-to-configuration test")
    expire(web1)
    await wait_for(web1, State.SUPERSEDED)
    assert await web1.systems() == (other, systems["old"].out_path)
    assert reason(web1) == f"not confirmed in time: somebody else has activated {other.path}"
    await wait_until_idle(web1)


async def test_a_boot_default_that_somebody_else_sets_is_left(
    web1: RunnerHost, systems: Systems
) -> None:
    other = systems["other"].out_path
    await web1.attempt(systems["new"], systems["old"]).run()
    sh(
        web1,
        f"nix-env -p /nix/var/nix/profiles/system --set {other.path};"
        f" {other.path}/bin/switch-to-configuration boot",
    )
    assert (await web1.commit(systems["new"]))[0] != 0
    await wait_for(web1, State.SUPERSEDED)
    assert await web1.systems() == (systems["old"].out_path, other)
    assert f"somebody else has made {other.path} the boot default" in reason(web1)


async def test_a_silent_systemd_is_no_end(web1: RunnerHost, systems: Systems) -> None:
    await web1.attempt(systems["new"], systems["old"]).run()
    with failing(web1, "systemctl", "*Id,ActiveState*"):
        expire(web1)
        await wait_for(web1, State.ROLLBACK_FAILED)
        assert trouble(web1) == "not active any more: systemd does not answer"
    await wait_for(web1, State.ROLLED_BACK)
    assert await is_on(web1, systems["old"])


async def test_a_profile_that_cannot_be_restored_is_tried_again(
    web1: RunnerHost, systems: Systems
) -> None:
    await web1.attempt(systems["unbootable"], systems["old"]).run()
    with failing(web1, "nix-env", "*--switch-generation*"):
        code, reply = await web1.commit(systems["unbootable"])
        assert (code, reply.state) == (24, State.ROLLBACK_FAILED)
        assert trouble(web1) == f"its profile still is {systems['unbootable'].out_path.path}"
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


async def test_a_torn_boot_loader_that_boots_new(web1: RunnerHost, systems: Systems) -> None:
    """Power was cut after the profile was put back, and before the boot loader was."""
    new, profile = systems["new"].out_path.path, "/nix/var/nix/profiles/system"
    await web1.attempt(systems["new"], systems["old"]).run()
    sh(
        web1,
        "cd /nix/var/flakeup/current; echo rolling-back >state; echo yes >touched;"
        f" nix-env -p {profile} --set {new}; {new}/bin/switch-to-configuration boot;"
        f" nix-env -p {profile} --switch-generation $(cat old-generation); sync",
    )
    web1.container.incus.call("restart", web1.container.instance, "--force")
    await wait_until_booted(web1)
    assert await web1.systems() == (systems["new"].out_path, systems["old"].out_path)
    assert "broken.service" in await failure(web1.attempt(systems["failing"], systems["old"]))
    await wait_for(web1, State.ROLLED_BACK)
    web1.container.incus.call("restart", web1.container.instance, "--force")
    await wait_until_booted(web1)
    assert await is_on(web1, systems["old"])


async def test_a_reboot_into_another_system_is_not_a_rollback(
    web1: RunnerHost, systems: Systems
) -> None:
    """Somebody has staged NEW by hand, and reboots while the attempt waits."""
    new = systems["new"].out_path
    one = web1.attempt(systems["new"], systems["old"])
    await one.run()
    sh(
        web1,
        f"nix-env -p /nix/var/nix/profiles/system --set {new.path};"
        f" {new.path}/bin/switch-to-configuration boot",
    )
    web1.container.incus.call("restart", web1.container.instance, "--force")
    await wait_until_booted(web1)
    last = await one.abort("asked again")
    assert last
    assert (last.state, last["reason"]) == (
        State.SUPERSEDED,
        f"the host was rebooted: it has booted {new.path}, which is not the previous system",
    )


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


async def test_a_profile_that_was_never_booted_is_not_unchanged(
    web1: RunnerHost, systems: Systems
) -> None:
    """All is NEW's but the boot loader, as after a `switch` by hand whose boot loader failed."""
    new = systems["new"].out_path
    sh(
        web1,
        f"nix-env -p /nix/var/nix/profiles/system --set {new.path};"
        f" {new.path}/bin/switch-to-configuration test",
    )
    assert await web1.attempt(systems["new"], None).run() is State.AWAITING
    code, reply = await web1.commit(systems["new"])
    assert (code, reply["outcome"]) == (0, "committed")
    entry = "sed -n 's/^default //p' /boot/loader/loader.conf"
    booted = web1.container.query("sh", "-c", f"cat /boot/loader/entries/$({entry})")
    assert f"init={new.path}/init" in booted
    assert await web1.attempt(systems["new"], systems["new"]).run() is None


async def test_the_link_to_init_is_put_back(web1: RunnerHost, systems: Systems) -> None:
    """`prepare-root`, as in containers with a systemd initrd, stays `prepare-root`."""
    old = systems["old"].out_path.path
    sh(web1, f"readlink /sbin/init >/nix/init; ln -sfn {old}/prepare-root /sbin/init")
    try:
        one = web1.attempt(systems["pointing"], systems["old"])
        await one.run()
        link = web1.container.query("readlink", "/sbin/init").strip()
        await one.abort("the next step")
        after = web1.container.query("readlink", "/sbin/init").strip()
    finally:
        sh(web1, "ln -sfn $(cat /nix/init) /sbin/init; rm /nix/init")
    assert (link, after) == (f"{old}/prepare-root", f"{old}/prepare-root")


async def test_the_lock_of_nixos_is_closed_to_others(web1: RunnerHost, systems: Systems) -> None:
    sh(web1, f"rm -f {LOCK}; touch {LOCK}; chmod 0644 {LOCK}")
    await web1.attempt(systems["new"], systems["old"]).run()
    assert web1.container.query("stat", "-c", "%a %U", LOCK).strip() == "600 root"
    assert (await web1.call_runner(protocol.RUNNER_PATH, systems["new"].out_path.path))[0] == 0


@pytest.mark.parametrize("instead", ["exit 1", "exit 0"], ids=("fails", "does nothing"))
async def test_a_profile_that_cannot_be_set(
    web1: RunnerHost, systems: Systems, instead: str
) -> None:
    await web1.attempt(systems["new"], systems["old"]).run()
    with failing(web1, "nix-env", "*--set*", instead):
        code, reply = await web1.commit(systems["new"])
        assert (code, reply.state) == (24, State.ROLLED_BACK)
        assert "the profile" in reply["reason"]
    assert await is_on(web1, systems["old"])


async def test_a_profile_that_cannot_be_set_back(web1: RunnerHost, systems: Systems) -> None:
    """OLD's generation is gone, so the rollback has to make another."""
    bad = systems["unbootable"]
    await web1.attempt(bad, systems["old"]).run()
    sh(web1, f"echo 99999 >{CURRENT}/old-generation")
    with failing(web1, "nix-env", f"*--set*{systems['old'].out_path.path}*"):
        code, reply = await web1.commit(bad)
        assert (code, reply.state) == (24, State.ROLLBACK_FAILED)
        assert trouble(web1) == f"its profile still is {bad.out_path.path}"
    await wait_for(web1, State.ROLLED_BACK)
    assert await is_on(web1, systems["old"])


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


async def test_a_rollback_that_goes_on_leaves_what_is_deployed_next(
    web1: RunnerHost, systems: Systems
) -> None:
    """Somebody has switched by hand, so that the next attempt does not take it over."""
    await web1.attempt(systems["new"], systems["old"]).run()
    end = time.monotonic() + 240
    with held_lock(web1):
        expire(web1)
        tries = ("sh", "-c", f"cat {CURRENT}/tries {CURRENT}/state || true")
        while web1.container.query(*tries).split() != ["3", "rollback-failed"]:
            assert time.monotonic() < end
            await asyncio.sleep(0.2)  # the fourth try comes 20 s after the third
    sh(web1, f"{systems['other'].out_path.path}/bin/switch-to-configuration test")
    assert await web1.attempt(systems["new"], None).run() is State.AWAITING
    assert (await web1.commit(systems["new"]))[0] == 0
    await asyncio.sleep(25)
    assert await is_on(web1, systems["new"])
    await wait_until_idle(web1)
