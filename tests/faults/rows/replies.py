"""A host that does not tell the truth, or not in our words (M-R): it counts as unconfirmed."""

from collections.abc import Callable
from typing import Final

from harness.command_result import CommandResult
from tests.faults.row import Ending, Row
from tests.faults.scene import Scene

GROUP = "replies"
_LIAR: Final = """#!/bin/sh
# Between sshd and the shell: all goes on as it would, but what the runner says is changed.
case $SSH_ORIGINAL_COMMAND in
*" start "* | *" follow "*)
    sh -c "$SSH_ORIGINAL_COMMAND" >/run/faults/said
    code=$?
    {filter} </run/faults/said
    exit $code
    ;;
*) exec sh -c "$SSH_ORIGINAL_COMMAND" ;;
esac
"""
LIES: Final = {
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
        "it speaks of the attempt '20200101T000000-0badcafe', and not of",
    ),
    "R5": (
        "the store path of another system",
        "sed 's|/nix/store/[a-z0-9]*-nixos|/nix/store/00000000000000000000000000000000-nixos|g'",
        "it speaks of '/nix/store/0{32}-nixos-[^']*', and not of /nix/store/",
    ),
    "R6": (
        "control characters",
        "sed \"s/^/$(printf '\\033[2J')/\"",
        r"not JSON: '\\x1b\[2J",
    ),
    "R7": ("a schema of the future", """sed 's/"schema":1/"schema":2/'""", "schema"),
    "R8": (
        "the end of the attempt twice",
        r"""sed 's/^\(.*"event":"result".*\)$/&\n&/'""",
        "it ends the attempt twice",
    ),
}


def lie(filtering: str) -> Callable[[Scene], CommandResult]:
    """Let `filtering` change what start and follow answer."""

    def play(scene: Scene) -> CommandResult:
        liar = _LIAR.replace("{filter}", filtering)
        keys = "/root/.ssh/authorized_keys /home/deploy/.ssh/authorized_keys"
        # As root on both: the login user's command goes through sudo of its own.
        scene.grip.sh(
            "mkdir -p -m 777 /run/faults && cat >/run/faults/liar <<'END' &&\n" + liar + "END\n"
            f"chmod 755 /run/faults/liar && for file in {keys}; do cp $file $file.honest &&"
            " sed 's|^ssh-|command=\"/run/faults/liar\" &|' $file.honest >$file; done"
        )
        scene.later(f"for file in {keys}; do mv -f $file.honest $file; done; rm -rf /run/faults")
        return scene.deploy(times={"confirm": "6s"})

    return play


ROWS = tuple(
    Row(
        id=name, group=GROUP, expected=Ending.OLD, play=lie(filtering), says=says,
        quick=1 if name in {"R1", "R5"} else 0, within=40, what=f"the host answers with {what}",
    )
    for name, (what, filtering, says) in LIES.items()
)  # fmt: skip
