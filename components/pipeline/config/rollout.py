"""In which order hosts are switched: as a value, and how it is read from the config."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Final

from ..values import InvalidValue
from .schema import Key, Table, nearest, number_parser
from .section import Section, whole_numbers

MAX_HOSTS: Final = 1000
"""The largest number of hosts that a size or a limit of `rollout` may name."""
_MAX_WAVES: Final = 100
_COUNT: Final = Key("", within=(0, MAX_HOSTS))


def _host_or_number(text: str) -> str | int:
    try:
        return number_parser(_COUNT)(text)
    except InvalidValue:
        if text.removeprefix("-").isdecimal():
            raise
        return text


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """The order of the hosts: a canary, then waves of these sizes, the last one repeated."""

    canary: Annotated[
        str | int,
        Key(
            "Which hosts are switched first, as a wave of their own: this host, or so many.",
            takes="a host's name or a number of hosts",
            write="write the name of a host, or a number of hosts, such as 1",
            limits="an enabled host, or 0 to 1000 (digits are a number); 0 is no canary",
            parse=_host_or_number,
            value_type=int,
        ),
    ] = 1
    waves: Annotated[
        tuple[int, ...],
        Key(
            "How many hosts each wave after the canary has; the last size is used for all "
            "following waves.",
            takes="a list of sizes",
            write="write the sizes of the waves, such as waves: [2, 5, 10]",
            limits=f"1 to {MAX_HOSTS} each, at least one and at most {_MAX_WAVES} of them",
            otherwise="all others in one wave",
            within=(1, MAX_HOSTS),
            read=whole_numbers(_MAX_WAVES),
        ),
    ] = ()
    max_parallel: Annotated[
        int | None,
        Key(
            "How many hosts of a wave are switched at the same time.",
            takes="a number of hosts",
            write="write a number of hosts, such as 4",
            otherwise="no limit",
            within=(1, MAX_HOSTS),
        ),
    ] = None


CANARY_FIRST: Final = Rollout()
"""One host, then all others: what a stack does that says nothing."""
ROLLOUT: Final = Table(
    Rollout,
    "In which order hosts are switched. Hosts are taken in natural order of their names (`web2` "
    "before `web10`), canaries first. A wave begins when every host of the previous one is "
    "committed; after a failure, hosts that are being switched finish, and all others stay as "
    "they are.",
)


def read_rollout(stack: Section, hosts: Mapping[str, bool]) -> Rollout:
    """Read the rollout of a stack; `hosts` says of each name whether the host is enabled."""
    values = stack.read_map("rollout")
    if values is None:
        return CANARY_FIRST
    section = stack.open("rollout", values, ROLLOUT)
    rollout = replace(CANARY_FIRST, **section.read_fields())
    if isinstance(rollout.canary, str):
        _check_canary(section, rollout.canary, hosts)
    return rollout


def _check_canary(section: Section, canary: str, hosts: Mapping[str, bool]) -> None:
    if canary not in hosts:
        near = nearest(canary, hosts)
        section.reject("canary", "is not a host of this stack", f"write {near}" if near else "")
    elif not hosts[canary]:
        section.reject("canary", "is disabled", "write an enabled host, or enable this one")
