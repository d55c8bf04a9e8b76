"""Hosts whose replies are false or malformed (R): the attempt counts as unconfirmed."""

from collections.abc import Callable
from typing import Final

from harness.command_result import CommandResult
from tests.faults.row import Outcome, Row
from tests.faults.run import diagnostics_of
from tests.faults.scenario import EngineScenario, Scenario

_WRAPPER: Final = """#!/bin/sh
# Between sshd and the shell: commands run as usual, but what the runner answers is changed.
case $SSH_ORIGINAL_COMMAND in
*" start "* | *" follow "*)
    {attempt}
    ;;
*" abort "* | *" observe") ;;
*/run/flakeup/*" /nix/store/"*)
    {commit}
    ;;
esac
exec sh -c "$SSH_ORIGINAL_COMMAND"
"""
_FILTERED: Final = """sh -c "$SSH_ORIGINAL_COMMAND" >/run/faults/output
    code=$?
    {filter} </run/faults/output
    exit $code"""
REPLIES: Final = {
    "R1": ("a reply that is not JSON", "sed 's/^{/</'", "not JSON"),
    "R2": (
        "two replies in one line",
        r"""sed 's/^\(.*"event":"result".*\)$/\1 \1/'""",
        "not JSON",
    ),
    "R3": (
        "a line of 1 MB",
        """awk '{ if (/"event":"result"/) { for (i = 0; i < 100000; i++) printf "          " }
            print }'""",
        "more than",
    ),
    "R4": (
        "the id of another attempt",
        """sed 's/"id":"[^"]*"/"id":"20200101T000000-0badcafe"/'""",
        "it reports attempt '20200101T000000-0badcafe', not ",
    ),
    "R5": (
        "the store path of another system",
        "sed 's|/nix/store/[a-z0-9]*-nixos|/nix/store/00000000000000000000000000000000-nixos|g'",
        "it reports '/nix/store/0{32}-nixos-[^']*', not /nix/store/",
    ),
    "R6": (
        "control characters",
        "sed \"s/^/$(printf '\\033[2J')/\"",
        r"not JSON: '\\x1b\[2J",
    ),
    "R7": ("a schema of the future", """sed 's/"schema":1/"schema":2/'""", "schema"),
    "R8": (
        "the result of the attempt twice",
        r"""sed 's/^\(.*"event":"result".*\)$/&\n&/'""",
        "it reports two results",
    ),
}


NOT_SENT: Final = "R10"
"""The engine counts this commit as done, so that the same release has to be replaced."""
COMMITS: Final = {
    "R9": ("after a line of the login shell", Outcome.NEW, "echo Welcome to this host"),
    "R10": ("with something else, and exit status 0", Outcome.OLD, "echo Welcome; exit 0"),
    "R11": ("never", Outcome.OLD, 'sh -c "sleep 300; : $SSH_ORIGINAL_COMMAND"; exit 1'),
    "R12": ("with 100 MB, and exit status 0", Outcome.OLD, "yes Welcome | head -c 100M; exit 0"),
    "R13": (
        "with something else after the commit",
        Outcome.NEW,
        'sh -c "$SSH_ORIGINAL_COMMAND" >/dev/null 2>&1; echo Welcome; exit 0',
    ),
}
"""How the host answers the commit: what is said of it, how it ends, and the shell that does it."""


def tampered(filtering: str) -> Callable[[Scenario], CommandResult]:
    """Deploy while a filter changes the replies of `start` and `follow`."""
    return _wrapped(attempt=_FILTERED.format(filter=filtering), commit="")


def _wrapped(*, attempt: str, commit: str) -> Callable[[Scenario], CommandResult]:
    def inject(scenario: Scenario) -> CommandResult:
        wrapper = _WRAPPER.format(attempt=attempt or ":", commit=commit or ":")
        keys = "/root/.ssh/authorized_keys /home/deploy/.ssh/authorized_keys"
        # For both users, as the commands of `deploy` go through sudo.
        scenario.shell.run(
            "mkdir -p -m 777 /run/faults && cat >/run/faults/wrapper <<'END' &&\n"
            + wrapper
            + "END\n"
            f"chmod 755 /run/faults/wrapper && for file in {keys}; do cp $file $file.original &&"
            " sed 's|^ssh-|command=\"/run/faults/wrapper\" &|' $file.original >$file; done"
        )
        scenario.on_cleanup(
            f"for file in {keys}; do mv -f $file.original $file; done; rm -rf /run/faults"
            "; pkill -f '[s]leep 300'"
        )
        assert isinstance(scenario, EngineScenario)
        scenario.needs_repair = scenario.row.id == NOT_SENT
        result = scenario.deploy(activation={"confirm": "6s"})
        assert result.code or "rollout stopped" not in result.text, (
            f"0, and {diagnostics_of(result)}"
        )
        return result

    return inject


ROWS = (
    *(
        Row(
            id=name, expected=Outcome.OLD, inject=tampered(filtering), message=message,
            quick=1 if name in {"R1", "R5"} else 0, within=40,
            what=f"the host answers with {what}",
        )
        for name, (what, filtering, message) in REPLIES.items()
    ),
    *(
        Row(
            id=name, expected=expected, inject=_wrapped(attempt="", commit=script),
            quick=1 if name == NOT_SENT else 0, within=40,
            what=f"the host answers the commit {what}",
        )
        for name, (what, expected, script) in COMMITS.items()
    ),
)  # fmt: skip
