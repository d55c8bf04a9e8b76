"""Hosts whose replies are false or malformed (R): the attempt counts as unconfirmed."""

from collections.abc import Callable
from typing import Final

from harness.command_result import CommandResult
from tests.faults.row import Outcome, Row
from tests.faults.scenario import Scenario

_WRAPPER: Final = """#!/bin/sh
# Between sshd and the shell: commands run as usual, but the output of the runner is changed.
case $SSH_ORIGINAL_COMMAND in
*" start "* | *" follow "*)
    sh -c "$SSH_ORIGINAL_COMMAND" >/run/faults/output
    code=$?
    {filter} </run/faults/output
    exit $code
    ;;
*) exec sh -c "$SSH_ORIGINAL_COMMAND" ;;
esac
"""
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


def tampered(filtering: str) -> Callable[[Scenario], CommandResult]:
    """Deploy while a filter changes the replies of `start` and `follow`."""

    def inject(scenario: Scenario) -> CommandResult:
        wrapper = _WRAPPER.replace("{filter}", filtering)
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
        )
        return scenario.deploy(activation={"confirm": "6s"})

    return inject


ROWS = tuple(
    Row(
        id=name, expected=Outcome.OLD, inject=tampered(filtering), message=message,
        quick=1 if name in {"R1", "R5"} else 0, within=40, what=f"the host answers with {what}",
    )
    for name, (what, filtering, message) in REPLIES.items()
)  # fmt: skip
