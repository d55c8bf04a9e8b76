"""Reads `rollout` of a config."""

from collections.abc import Mapping
from typing import Final

from ..deploy.waves import CANARY_FIRST, Rollout
from ..values import InvalidValue
from .rollout_table import ROLLOUT
from .schema import nearest
from .section import Section, number_of

_MAX_WAVES: Final = 100


def read_rollout(stack: Section, hosts: Mapping[str, bool]) -> Rollout:
    """Read the rollout of a stack; `hosts` says of each name whether the host is enabled."""
    values = stack.mapping("rollout")
    if values is None:
        return CANARY_FIRST
    section = stack.inner("rollout", values, ROLLOUT)
    canary = section.read("canary", _host_or_number)
    if isinstance(canary, str):
        _check_canary(section, canary, hosts)
    waves = section.numbers("waves", most=_MAX_WAVES)
    return Rollout(
        canary=CANARY_FIRST.canary if canary is None else canary,
        waves=waves or (),
        max_parallel=section.read("maxParallel", number_of(ROLLOUT["maxParallel"])),
    )


def _host_or_number(text: str) -> str | int:
    try:
        return number_of(ROLLOUT["canary"])(text)
    except InvalidValue:
        if text.removeprefix("-").isdecimal():
            raise
        return text


def _check_canary(section: Section, canary: str, hosts: Mapping[str, bool]) -> None:
    if canary not in hosts:
        near = nearest(canary, hosts)
        section.refuse("canary", "is not a host of this stack", f"write {near}" if near else "")
    elif not hosts[canary]:
        section.refuse(
            "canary", "is a host that is left out", "write an enabled host, or enable this one"
        )
