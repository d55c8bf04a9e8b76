"""The keys of `rollout`: for the parser, its messages and docs/config.md."""

from typing import Final

from .schema import Key, Table

MAX_HOSTS: Final = 1000
"""The largest number of hosts that a size or a limit of `rollout` may name."""

ROLLOUT: Final = Table(
    path="rollout",
    about=(
        "In which order the hosts are switched, for the stack. Hosts are taken in natural order "
        "of their names (`web2` before `web10`), canaries first. A wave begins when each host "
        "of the one before it is committed; after a failure, hosts under way finish, and all "
        "others stay as they are."
    ),
    keys=(
        Key(
            name="canary",
            takes="a host's name or a number of hosts",
            write="write the name of a host, or a number of hosts, such as 1",
            meaning="Who is switched first, as a wave of its own: this host, or the first so many.",
            limits="an enabled host, or 0 to 1000 (digits are a number); 0 is no canary",
            default="1",
            within=(0, MAX_HOSTS),
            plain=int,
        ),
        Key(
            name="waves",
            takes="a list of sizes",
            write="write the sizes of the waves, such as waves: [2, 5, 10]",
            meaning=(
                "How many hosts each wave after the canary has; the last size is that of all "
                "waves that follow."
            ),
            limits="1 to 1000 each, at least one and at most 100 of them",
            otherwise="all others in one wave",
            within=(1, MAX_HOSTS),
        ),
        Key(
            name="maxParallel",
            takes="a number of hosts",
            write="write a number of hosts, such as 4",
            meaning="How many hosts of a wave switch at the same time.",
            limits="1 to 1000",
            otherwise="no limit",
            within=(1, MAX_HOSTS),
            plain=int,
        ),
    ),
)
