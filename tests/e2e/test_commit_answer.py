"""The commit's answer is not the runner's: what the run says is what the host says."""

from collections.abc import Callable, Iterator
from typing import Final

import pytest

from harness.hosts import ContainerHost
from tests.e2e.host_state import Hosts, attempt_state, profile, profiles, system, systems
from tests.e2e.stack import FAST_ACTIVATION, Workspace

pytestmark = pytest.mark.e2e

_WRAPPER: Final = """#!/bin/sh
# Between sshd and the shell: what the commit prints is changed, and nothing else.
case $SSH_ORIGINAL_COMMAND in
*"/run/flakeup/switch /nix/store/"*) {commit} ;;
*" start "* | *" follow "* | *" abort "* | *" observe")
    {other}
    exec sh -c "$SSH_ORIGINAL_COMMAND"
    ;;
*) exec sh -c "$SSH_ORIGINAL_COMMAND" ;;
esac
"""
_KEYS: Final = "/root/.ssh/authorized_keys /home/deploy/.ssh/authorized_keys"
IMPATIENT: Final = {**FAST_ACTIVATION, "confirm": "6s", "commit": "3s"}
ENDLESS_WITHIN: Final = 200
"""Seconds for `up` with a commit that never ends: 6 + 3 + 30, the question, and the engine."""
REBOOTED_WITHIN: Final = 110
"""Seconds for `up` with a reboot, far below the host's own timeouts: 20 + 30 + 30, twice."""

Tamper = Callable[..., None]


@pytest.fixture
def tamper(hosts: Hosts) -> Iterator[Tamper]:
    """Replaces what runs on web2 instead of the commit; `other` runs before each other verb."""
    host = hosts["web2"]

    def tampered(commit: str, *, other: str = ":") -> None:
        restore(host)
        wrapper = _WRAPPER.format(commit=commit, other=other)
        host.exec(
            "sh",
            "-c",
            "mkdir -p -m 777 /var/lib/faults && cat >/var/lib/faults/wrapper <<'END' &&\n"
            f"{wrapper}END\n"
            f"chmod 755 /var/lib/faults/wrapper && for file in {_KEYS}; do"
            " cp -p $file $file.original &&"
            " sed 's|^ssh-|command=\"/var/lib/faults/wrapper\" &|' $file.original >$file; done",
        )

    yield tampered
    restore(host)


def restore(host: ContainerHost) -> None:
    host.exec(
        "sh",
        "-c",
        f"for file in {_KEYS}; do [ ! -e $file.original ] || mv -f $file.original $file; done;"
        " rm -rf /var/lib/faults",
    )


def test_a_greeting_is_no_failure(workspace: Workspace, hosts: Hosts, tamper: Tamper) -> None:
    greeting = "echo 'Welcome to web2!'; echo"
    tamper(f'{greeting}; sh -c "$SSH_ORIGINAL_COMMAND"; echo bye', other=greeting)
    workspace.write(appRef="v2")
    result = workspace.up()
    assert result.code == 0, result.text
    assert "Welcome" not in result.text
    assert system(hosts["web2"]) == profile(hosts["web2"]) == workspace.recorded()["web2"]
    assert workspace.outputs()["hosts"]["web2"]["outcome"] == "committed"


def test_a_commit_that_the_host_confirms_is_no_failure(
    workspace: Workspace, hosts: Hosts, tamper: Tamper
) -> None:
    tamper('sh -c "$SSH_ORIGINAL_COMMAND" >/dev/null; echo Welcome')
    workspace.write(appRef="v2")
    result = workspace.up()
    assert result.code == 0, result.text
    assert "the commit printed no reply: 'Welcome'" in result.text
    assert system(hosts["web2"]) == profile(hosts["web2"]) == workspace.recorded()["web2"]
    again = workspace.up()
    assert again.code == 0, again.text
    assert workspace.outputs()["hosts"]["web2"]["outcome"] == "unchanged"


@pytest.mark.parametrize("answer", ["Welcome", ""], ids=["garbage", "nothing"])
def test_an_unusable_answer_fails_each_run_until_it_is_repaired(
    workspace: Workspace, hosts: Hosts, tamper: Tamper, answer: str
) -> None:
    """The engine counts the commit as done, and nothing that runs later can change that."""
    old = systems(hosts)
    tamper(f"echo {answer}" if answer else ":")
    workspace.write(appRef="v2", rollout={"canary": "web2"})
    result = workspace.up()
    assert result.code != 0, result.text
    assert "Traceback" not in result.text
    said = f"the commit printed no reply: '{answer}'" if answer else "the commit printed nothing"
    assert said in result.text
    assert f"it runs {old['web2']} now" in result.text
    assert "the rollout stopped: failed: web2; untouched: web1" in result.diagnostics()
    assert "--replace 'urn:pulumi:" in result.text
    assert systems(hosts) == profiles(hosts) == old
    assert attempt_state(hosts["web2"]) == "rolled-back"
    assert workspace.recorded()["web2"] != old["web2"]
    assert "release" in workspace.outputs()

    for words in ((), ("--continue-on-error",)):
        again = workspace.up(*words)
        assert again.code != 0, again.text
        assert f"it runs {old['web2']}, and boots {old['web2']}" in again.text
        assert "repair: pulumi up --replace 'urn:pulumi:" in again.text
        assert systems(hosts) == old
    assert "--replace 'urn:pulumi:" in workspace.preview().text

    restore(hosts["web2"])
    workspace.write(appRef="v2", rollout={"canary": "web2"})
    repaired = workspace.up("--replace", "**web2-switch")
    assert repaired.code == 0, repaired.text
    assert workspace.up().code == 0
    assert workspace.recorded() == systems(hosts) == profiles(hosts)


def test_after_an_unusable_answer_another_release_needs_no_repair(
    workspace: Workspace, hosts: Hosts, tamper: Tamper
) -> None:
    tamper("echo Welcome")
    workspace.write(appRef="v2", activation=IMPATIENT)
    assert workspace.up().code != 0
    restore(hosts["web2"])
    workspace.fleet(web2={"extraText": "another release"})
    workspace.write(appRef="v2")
    result = workspace.up()
    assert result.code == 0, result.text
    assert workspace.recorded() == systems(hosts) == profiles(hosts)


@pytest.mark.parametrize(
    "commit",
    ["yes Welcome", 'sh -c "sleep 600; : $SSH_ORIGINAL_COMMAND"'],
    ids=["floods", "never answers"],
)
def test_a_commit_that_never_ends(
    workspace: Workspace, hosts: Hosts, tamper: Tamper, commit: str
) -> None:
    old = systems(hosts)
    tamper(commit)
    workspace.write(appRef="v2", activation=IMPATIENT)
    result = workspace.up()
    assert result.code != 0, result.text
    assert result.seconds < ENDLESS_WITHIN
    assert f"it runs {old['web2']} now" in result.text
    assert system(hosts["web2"]) == profile(hosts["web2"]) == old["web2"]
    assert workspace.recorded()["web2"] == old["web2"]
    restore(hosts["web2"])
    workspace.write(appRef="v2")
    assert workspace.up().code == 0


def test_a_host_that_is_rebooted_by_its_commit_says_so(
    workspace: Workspace, hosts: Hosts, tamper: Tamper
) -> None:
    """It answers as soon as it is back, and has the runner no more."""
    old = systems(hosts)
    tamper(
        '[ ! -e /var/lib/faults/rebooted ] || exec sh -c "$SSH_ORIGINAL_COMMAND";'
        " touch /var/lib/faults/rebooted; sudo -n systemctl reboot --force; sleep 60"
    )
    workspace.write(appRef="v2")
    result = workspace.up()
    assert result.code != 0, result.text
    assert "the host was rebooted: rolled back to the previous system" in result.text
    assert f"it runs {old['web2']} now" in result.text
    assert result.seconds < REBOOTED_WITHIN
    assert system(hosts["web2"]) == profile(hosts["web2"]) == old["web2"]
    restore(hosts["web2"])
    assert workspace.up().code == 0
