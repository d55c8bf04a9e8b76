"""A rollback puts the profile, the boot loader and the link to init back."""

import pytest

from components.pipeline.activation.protocol import State
from tests.e2e.host_faults import (
    CURRENT,
    Systems,
    failing,
    is_on,
    sh,
    trouble,
    wait_for,
)
from tests.e2e.runner_hosts import (
    RunnerHost,
    failure,
    wait_until_booted,
)

pytestmark = pytest.mark.e2e


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
