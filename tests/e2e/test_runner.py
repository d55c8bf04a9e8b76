"""The runner on real hosts: every verb, races, and rollbacks."""

import re

import pytest

from components.pipeline.activation import protocol, runner
from components.pipeline.activation.attempt import Absent
from components.pipeline.activation.protocol import State
from components.pipeline.evaluate.attribute import EvaluatedAttr
from components.pipeline.process.concurrency import all_of
from components.pipeline.process.run import run
from tests.e2e.host_faults import expire, wait_for
from tests.e2e.runner_hosts import USERS, RunnerHost, failure, wait_until_booted, wait_until_idle

pytestmark = pytest.mark.e2e


# --- releases ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", USERS)
async def test_the_first_release_and_the_second(
    runner_hosts: dict[str, RunnerHost], systems: dict[str, EvaluatedAttr], name: str
) -> None:
    """Observe, publish, start, follow and commit: as root, and as a user with sudo."""
    host, old, new = runner_hosts[name], systems["old"], systems["new"]
    assert await host.systems() == (None, None)
    assert await host.attempt(old, None).run() is State.AWAITING
    assert await host.systems() == (old.out_path, None)
    code, reply = await host.commit(old)
    assert (code, reply.event, reply["generation"]) == (0, "committed", "1")

    assert await host.attempt(new, old).run() is State.AWAITING
    assert await host.systems() == (new.out_path, old.out_path)
    assert (await host.observe()).attempt_new == new.out_path
    code, reply = await host.commit(new)
    assert (code, reply.event, reply["outcome"], reply["generation"]) == (
        0,
        "committed",
        "committed",
        "2",
    )
    assert reply.path("toplevel") == new.out_path
    assert await host.systems() == (new.out_path, new.out_path)
    assert (await host.observe()).attempt == ""
    last = host.container.query("readlink", "/nix/var/nix/gcroots/flakeup/last").strip()
    assert last == old.out_path.path
    mode = host.container.query("stat", "-Lc", "%U %a", "/run/flakeup/switch", "/nix/var/flakeup")
    assert mode.splitlines() == ["root 700", "root 700"]


async def test_a_commit_may_be_sent_twice(
    web1: RunnerHost, systems: dict[str, EvaluatedAttr]
) -> None:
    await web1.attempt(systems["new"], systems["old"]).run()
    assert (await web1.commit(systems["new"]))[1]["outcome"] == "committed"
    code, reply = await web1.commit(systems["new"])
    assert (code, reply["outcome"]) == (0, "unchanged")


async def test_two_commits_at_once(web1: RunnerHost, systems: dict[str, EvaluatedAttr]) -> None:
    await web1.attempt(systems["new"], systems["old"]).run()
    both = await all_of(web1.commit(systems["new"]) for _ in range(2))
    assert [code for code, _ in both] == [0, 0]
    assert await web1.systems() == (systems["new"].out_path, systems["new"].out_path)


async def test_unchanged_changes_nothing(
    web1: RunnerHost, systems: dict[str, EvaluatedAttr]
) -> None:
    before, attempts = web1.container.started(), web1.attempts()
    assert await web1.attempt(systems["old"], systems["old"]).run() is None
    code, reply = await web1.commit(systems["old"])
    assert (code, reply["outcome"]) == (0, "unchanged")
    assert web1.container.started() == before
    assert web1.attempts() == attempts


# --- where the runner is -------------------------------------------------------------------


@pytest.mark.parametrize("name", USERS)
async def test_a_host_with_a_noexec_run(
    runner_hosts: dict[str, RunnerHost], systems: dict[str, EvaluatedAttr], name: str
) -> None:
    """Hardened hosts execute nothing there."""
    host = runner_hosts[name]
    old = "old" if (await host.systems())[0] != systems["old"].out_path else "new"
    host.container.exec("mount", "-o", "remount,noexec", "/run")
    try:
        assert await host.attempt(systems[old], None).run() is State.AWAITING
        code, reply = await host.commit(systems[old])
        assert (code, reply["outcome"]) == (0, "committed")
    finally:
        host.container.exec("mount", "-o", "remount,exec", "/run")


async def test_an_attempt_is_committed_by_its_own_version(
    web1: RunnerHost, systems: dict[str, EvaluatedAttr], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another version of flakeup is published while it awaits its confirmation."""
    own = runner.text()
    one = web1.attempt(systems["new"], systems["old"])
    assert await one.run() is State.AWAITING
    other = own.replace(b"\ncommit() {", b"\ncommit() { finish 1 other\n")
    assert other != own
    monkeypatch.setattr(runner, "text", lambda: other)
    last = web1.ssh.argv(*protocol.publish_argv(*protocol.follow_argv(one.id, 0)))
    await run(last, timeout=60, stdin=runner.text())
    assert b"finish 1 other" in web1.container.query("cat", "/run/flakeup/switch").encode()
    code, reply = await web1.commit(systems["new"])
    assert (code, reply["outcome"]) == (0, "committed")
    code, reply = await web1.commit(systems["new"])  # of nobody's attempt: the newest may answer
    assert (code, reply.event) == (1, "other")


# --- races --------------------------------------------------------------------------------


async def test_the_same_release_twice_at_once_is_one_attempt(
    web1: RunnerHost, systems: dict[str, EvaluatedAttr]
) -> None:
    before = set(web1.attempts())
    pair = [web1.attempt(systems["slow"], systems["old"]) for _ in range(2)]
    assert await all_of(one.run() for one in pair) == [State.AWAITING, State.AWAITING]
    assert pair[0].id == pair[1].id
    assert set(web1.attempts()) - before == {pair[0].id}


async def test_another_release_has_to_wait(
    web1: RunnerHost, systems: dict[str, EvaluatedAttr]
) -> None:
    await web1.attempt(systems["new"], systems["old"]).run()
    assert await failure(web1.attempt(systems["other"], systems["old"])) == (
        "not deployed: web1: it is being deployed by tests (pid 1) (awaiting-confirm,"
        f" to {systems['new'].out_path.path}). wait until it ends, then run `pulumi up` again"
    )
    assert (await web1.systems())[0] == systems["new"].out_path
    assert (await web1.commit(systems["other"]))[0] == 31
    assert (await web1.commit(systems["new"]))[0] == 0


async def test_a_deployer_that_never_confirms_does_not_block_the_host(
    web1: RunnerHost, systems: dict[str, EvaluatedAttr]
) -> None:
    await web1.attempt(systems["new"], systems["old"]).run()
    assert await web1.systems() == (systems["new"].out_path, systems["old"].out_path)
    expire(web1)
    await wait_for(web1, State.ROLLED_BACK)
    await wait_until_idle(web1)
    assert await web1.systems() == (systems["old"].out_path, systems["old"].out_path)
    code, reply = await web1.commit(systems["new"])
    assert (code, reply["reason"]) == (
        31,
        "its attempt has ended: rolled-back: not confirmed in time",
    )
    assert await web1.attempt(systems["other"], systems["old"]).run() is State.AWAITING
    assert (await web1.commit(systems["other"]))[0] == 0
    assert await web1.systems() == (systems["other"].out_path, systems["other"].out_path)


async def test_a_manual_switch_is_detected(
    web1: RunnerHost, systems: dict[str, EvaluatedAttr]
) -> None:
    other = systems["other"].out_path.path
    web1.container.exec(f"{other}/bin/switch-to-configuration", "test")
    assert (await failure(web1.attempt(systems["new"], systems["old"]))).startswith(
        f"not deployed: web1: it runs {other}, and the last deployment was"
        f" {systems['old'].out_path.path}. to deploy this release anyway"
    )
    assert (await web1.systems())[0] == systems["other"].out_path
    assert await web1.attempt(systems["new"], None).run() is State.AWAITING


async def test_a_manual_switch_before_the_commit(
    web1: RunnerHost, systems: dict[str, EvaluatedAttr]
) -> None:
    await web1.attempt(systems["new"], systems["old"]).run()
    web1.container.exec(f"{systems['other'].out_path.path}/bin/switch-to-configuration", "test")
    code, reply = await web1.commit(systems["new"])
    assert (code, reply["reason"]) == (31, "the host runs another system")
    assert (await web1.systems())[1] == systems["old"].out_path


async def test_a_commit_without_an_attempt(
    web1: RunnerHost, systems: dict[str, EvaluatedAttr]
) -> None:
    code, reply = await web1.commit(systems["new"])
    assert (code, reply.event) == (31, "refused")
    assert reply["reason"].startswith(("no attempt awaits", "its attempt has ended"))
    assert await web1.systems() == (systems["old"].out_path, systems["old"].out_path)


async def test_an_absent_closure(web1: RunnerHost, systems: dict[str, EvaluatedAttr]) -> None:
    attempts = web1.attempts()
    with pytest.raises(Absent):
        await web1.attempt(systems["absent"], systems["old"]).run()
    assert web1.attempts() == attempts


async def test_a_reboot_before_the_commit(
    web1: RunnerHost, systems: dict[str, EvaluatedAttr]
) -> None:
    await web1.attempt(systems["new"], systems["old"]).run()
    web1.container.incus.call("restart", web1.container.instance, "--force")
    await wait_until_booted(web1)
    assert await web1.systems() == (systems["old"].out_path, systems["old"].out_path)
    gone = await run(
        web1.ssh.argv(*protocol.commit_argv(systems["new"].out_path)), timeout=30, check=False
    )
    assert (gone.code, gone.stdout) == (2, b"")  # of dash; 127 of bash
    code, reply = await web1.call_runner(*protocol.publish_argv(systems["new"].out_path.path))
    assert (code, reply["reason"]) == (
        31,
        "its attempt has ended: rolled-back: the host was rebooted",
    )
    assert await web1.attempt(systems["new"], systems["old"]).run() is State.AWAITING


# --- rollbacks ---------------------------------------------------------------------------


async def test_a_failed_activation_script(
    web1: RunnerHost, systems: dict[str, EvaluatedAttr]
) -> None:
    message = await failure(web1.attempt(systems["crashing"], systems["old"]))
    assert "the activation exited with status 2: rolled back to the previous system" in message
    assert "cannot create the directory /var/lib/app: read-only file system" in message
    assert await web1.systems() == (systems["old"].out_path, systems["old"].out_path)


async def test_a_release_that_needs_a_reboot(
    web1: RunnerHost, systems: dict[str, EvaluatedAttr]
) -> None:
    before = web1.container.started()
    message = await failure(web1.attempt(systems["rebooting"], systems["old"]))
    assert message.startswith(
        "not deployed: web1: refused: the init interface changed: this release needs a reboot\n"
    )
    assert re.search(r"\n  [Ww]arning: the new .*init", message)
    assert message.endswith("\nnothing was changed")
    assert await web1.systems() == (systems["old"].out_path, systems["old"].out_path)
    assert web1.container.started() == before


async def test_failed_preswitch_checks(web1: RunnerHost, systems: dict[str, EvaluatedAttr]) -> None:
    before = web1.container.started()
    message = await failure(web1.attempt(systems["unchecked"], systems["old"]))
    assert message.startswith("not deployed: web1: refused: its pre-switch checks failed: ")
    assert "switching into it is not safe" in message
    assert message.endswith("nothing was changed")
    assert await web1.systems() == (systems["old"].out_path, systems["old"].out_path)
    assert web1.container.started() == before


async def test_a_failed_boot_loader_rolls_back(
    web1: RunnerHost, systems: dict[str, EvaluatedAttr]
) -> None:
    assert await web1.attempt(systems["unbootable"], systems["old"]).run() is State.AWAITING
    code, reply = await web1.commit(systems["unbootable"])
    assert (code, reply.event) == (24, "failed")
    assert "Failed to install bootloader" in web1.log()
    assert await web1.systems() == (systems["old"].out_path, systems["old"].out_path)
    assert (await web1.commit(systems["unbootable"]))[0] == 31


async def test_abort(web1: RunnerHost, systems: dict[str, EvaluatedAttr]) -> None:
    one = web1.attempt(systems["new"], systems["old"])
    await one.run()
    last = await one.abort("the check from outside failed; $(reboot) 'x'")
    assert last
    assert (last.state, last["reason"]) == (
        State.ROLLED_BACK,
        "the check from outside failed; $(reboot) 'x'",
    )
    assert await web1.systems() == (systems["old"].out_path, systems["old"].out_path)
    code, reply = await web1.commit(systems["new"])
    assert code == 31
    assert reply["reason"].startswith("its attempt has ended: rolled-back: the check from outside")
    assert (await web1.observe()).attempt == ""


# --- what comes back ----------------------------------------------------------------------


async def test_a_long_log_with_control_characters_is_cleaned(
    web1: RunnerHost, systems: dict[str, EvaluatedAttr]
) -> None:
    one = web1.attempt(systems["flooding"], systems["old"])
    assert await one.run() is State.AWAITING
    assert "\x1b" in web1.log()
    assert all(line.isprintable() for line in one._log.lines)
    argv = web1.ssh.argv(*protocol.publish_argv(*protocol.follow_argv(one.id, 0)))
    raw = (await run(argv, timeout=60, stdin=runner.text())).stdout
    assert b"a very long line of output [31m with control characters" in raw
    assert not [byte for byte in raw if byte < 0x20 and byte != 0x0A]
    assert len(raw) < 1 << 20
    for line in raw.splitlines():
        protocol.parse("web1", line)
