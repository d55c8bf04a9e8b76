"""How a host is switched, as a value, and how it is read from a config."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from ..values import Duration
from .activation_table import ACTIVATION, MAX_CHECKS
from .check_section import read_checks, section_of
from .checks import Check, CheckOrigin
from .section import Section, number_of, one_of, time_of

_FIELDS: Final = {
    "timeout": "timeout",
    "settle": "settle",
    "checkDeadline": "check_deadline",
    "confirm": "confirm",
    "commit": "commit",
    "call": "call",
}
"""The times: their key and their field."""

COMMIT_RESERVE: Final = 5
"""Seconds of `confirm` that are left to the commit's own connection."""

_TIMES: Final = {name: Duration(ACTIVATION[key].default) for key, name in _FIELDS.items()}


class Mode(StrEnum):
    """When the new system runs."""

    SWITCH = "switch"
    BOOT = "boot"
    """From the next start on: it is made the boot default, and nothing else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Activation:
    """How a host is switched; together the times bound the way back to OLD."""

    timeout: Duration = _TIMES["timeout"]
    """For `switch-to-configuration test`."""
    settle: Duration = _TIMES["settle"]
    """From its end, in which units must stay good; may be 0."""
    check_deadline: Duration = _TIMES["check_deadline"]
    """For all checks on the host together, `settle` included."""
    confirm: Duration = _TIMES["confirm"]
    """From the end of the checks on the host to the commit, those from the deployer included."""
    commit: Duration = _TIMES["commit"]
    """For the commit itself."""
    call: Duration = _TIMES["call"]
    """For each call to a host."""
    mode: Mode = Mode.SWITCH
    keep_generations: int | None = None
    """How many generations of the profile stay; None is all."""
    checks: tuple[Check, ...] = ()
    """Sorted by name."""


DEFAULTS: Final = Activation()


def read_activation(parent: Section, base: Activation) -> Activation:
    """Read `activation` over `base`; where a key is refused, the rest is still looked at."""
    values = parent.mapping("activation")
    if values is None:
        return base
    section = parent.inner("activation", values, ACTIVATION)
    before = len(section.problems)
    times = {
        name: section.read(key, time_of(ACTIVATION[key]), getattr(base, name))
        for key, name in _FIELDS.items()
    }
    mode = section.read("mode", one_of(Mode), base.mode)
    keep = section.read(
        "keepGenerations", number_of(ACTIVATION["keepGenerations"]), base.keep_generations
    )
    times_are_good = len(section.problems) == before
    own = read_checks(section)
    checks = {check.name: check for check in base.checks} | own
    made = replace(
        base,
        **{name: time for name, time in times.items() if time is not None},
        mode=mode or base.mode,
        keep_generations=keep,
        checks=tuple(checks[name] for name in sorted(checks)),
    )
    if times_are_good and _check_settle(section, made):
        _check_longest(section, made, base, own)
    _check_count(section, made)
    return made


def _check_settle(section: Section, made: Activation) -> bool:
    """Refuse a deadline within `settle`, at the level that makes it so; say whether all is well."""
    if made.settle.seconds < made.check_deadline.seconds:
        return True
    if key := _first(section, "settle", "checkDeadline"):
        section.refuse(
            key,
            "leaves no time to check: settle is not shorter than checkDeadline",
            "write settle shorter, or checkDeadline longer",
        )
    return False


def _check_longest(
    section: Section, made: Activation, base: Activation, own: Mapping[str, Check]
) -> None:
    """Refuse checks that cannot be done in their time; what the stack has wrong is said there."""
    for check in made.checks:
        misfit = _misfit(check, made)
        if not misfit:
            continue
        if check.name in own:
            values = section.mapping("checks")
            section_of(section, values or {}).refuse(
                check.name, f"may take too long: {misfit}", _remedy(check)
            )
            continue
        key = (
            _first(section, "confirm")
            if check.origin is CheckOrigin.DEPLOYER
            else _first(section, "checkDeadline", "settle")
        )
        if key and not _misfit(check, base):
            section.refuse(
                key, f"does not go with the check {check.name}: {misfit}", _remedy(check)
            )


def _first(section: Section, *keys: str) -> str:
    """Give the first of these keys that the map has, or nothing."""
    return next((key for key in keys if key in section.values), "")


def _misfit(check: Check, activation: Activation) -> str:
    """Say why a check cannot be done in its time, or nothing."""
    parts = [f"{check.retries} retries of {check.period.text}", f"hold {check.hold.text}"]
    match check.origin:
        case CheckOrigin.HOST:
            name, limit, least = "checkDeadline", activation.check_deadline, activation.settle
            parts.insert(0, f"settle {least.text}")
            longest = check.longest + least.seconds
        case CheckOrigin.DEPLOYER:
            name, limit = "confirm", activation.confirm
            parts.append(f"{COMMIT_RESERVE}s for the commit's connection")
            longest = check.longest + COMMIT_RESERVE
    if longest <= limit.seconds:
        return ""
    return f"{' + '.join(parts)} is more than {name} {limit.text}"


def _remedy(check: Check) -> str:
    limit = "checkDeadline" if check.origin is CheckOrigin.HOST else "confirm"
    return f"write fewer retries or a shorter hold, or a longer {limit}"


def _check_count(section: Section, made: Activation) -> None:
    if len(made.checks) > MAX_CHECKS and "checks" in section.values:
        section.refuse(
            "checks",
            f"makes {len(made.checks)} checks for one host, of at most {MAX_CHECKS}",
            "write fewer checks, or several in one command",
        )
