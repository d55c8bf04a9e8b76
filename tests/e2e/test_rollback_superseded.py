"""A rollback leaves what somebody else has decided."""

import asyncio
import time

import pytest

from components.pipeline.activation.protocol import State
from tests.e2e.host_faults import (
    CURRENT,
    Systems,
    expire,
    held_lock,
    is_on,
    reason,
    sh,
    wait_for,
)
from tests.e2e.runner_hosts import (
    RunnerHost,
    wait_until_booted,
    wait_until_idle,
)

pytestmark = pytest.mark.e2e


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
