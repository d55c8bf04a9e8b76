"""How a host is switched: as a value, and how it is read from the config."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Annotated, Any, Final

from ..errors import Problem
from ..values import Duration, InvalidValue
from .check_templates import unit_pattern
from .checks import Check, CheckOrigin, read_checks
from .schema import Key, Table
from .section import SECRET, Section, is_too_large, not_a, path_to, shown

MAX_CHECKS: Final = 16
"""Checks that one host may have."""
MAX_MAY_FAIL: Final = 32
"""Units that may fail on one host."""
COMMIT_RESERVE: Final = 5
"""Seconds of `confirm` that are left to the commit's own connection."""


class Mode(StrEnum):
    """When the new system runs."""

    SWITCH = "switch"
    BOOT = "boot"
    """From the next start on: it is made the boot default, and nothing else."""


def read_may_fail(section: Section, key: Key) -> tuple[str, ...] | None:
    """Read the units that may fail; an empty list is none, as laid over the stack's."""
    items = section.read_list(key.name)
    if items is None or is_too_large(section, key.name, items, MAX_MAY_FAIL, "units"):
        return None
    before, hidden = len(section.problems), section.is_hidden(key.name)
    for index, item in enumerate(items):
        try:
            why = "" if isinstance(item, str) and unit_pattern(item) else not_a("text", item)
        except InvalidValue as error:
            why = error.reason(hidden=hidden)
        if why:
            path = f"{path_to(section.path, key.name)}[{index}]"
            section.reject_value(path, SECRET if hidden else shown(item), why, key.write)
    return None if len(section.problems) > before else tuple(items)


@dataclass(frozen=True, slots=True, kw_only=True)
class Activation:
    """How a host is switched; together the times bound how long it takes to be back on OLD."""

    timeout: Annotated[
        Duration,
        Key(
            "For `switch-to-configuration` of the new system, and of the old one when rolling "
            "back.",
            most="4h",
        ),
    ] = Duration("10m")
    settle: Annotated[
        Duration,
        Key(
            "How long the host's units must stay good after the activation before the checks "
            "begin. They are watched from its first moment, and a failed unit counts at once; in "
            "the second half of it systemd may not start any service again.",
            most="10m",
            zero=True,
        ),
    ] = Duration("10s")
    check_deadline: Annotated[
        Duration,
        Key(
            "For all checks on the host together, `settle` included: it is longer.",
            most="1h",
        ),
    ] = Duration("2m")
    confirm: Annotated[
        Duration,
        Key(
            "From the end of the checks on the host to the commit; the checks from the deployer "
            "are made within it.",
            most="1h",
        ),
    ] = Duration("2m")
    commit: Annotated[
        Duration, Key("For the commit: the profile and the boot loader.", most="10m")
    ] = Duration("1m")
    call: Annotated[
        Duration,
        Key(
            "For a call that asks a host what it runs (10s at most) or aborts an attempt: one "
            "that hangs is given up. An attempt is followed for 60s at a time, whatever this is.",
            most="5m",
        ),
    ] = Duration("30s")
    mode: Annotated[
        Mode,
        Key(
            "`switch` runs the new system now. `boot` makes it the boot default: it runs from "
            "the host's next start, and no check is made before."
        ),
    ] = Mode.SWITCH
    reboot_on_failed_rollback: Annotated[
        bool,
        Key(
            "A rollback that fails is tried again until the previous system runs. `true`: if that "
            "does not run after three tries, and is the boot default, the host is rebooted."
        ),
    ] = False
    keep_generations: Annotated[
        int | None,
        Key(
            "How many generations of the system profile are kept after a commit, the current one "
            "included; the previous one and the booted one are never removed.",
            takes="a number of generations",
            write="write a number of generations, such as 10",
            otherwise="all are kept",
            within=(2, 1000),
        ),
    ] = None
    may_fail: Annotated[
        tuple[str, ...],
        Key(
            "Units whose failure is no reason to roll back: jobs of timers, say, that a release "
            "has nothing to do with. A check of such a unit still counts.",
            takes="a list of units",
            write='write a list of units, such as mayFail: ["fetch.service", "backup-*.service"]',
            limits=(
                f"at most {MAX_MAY_FAIL}; the name of a unit with its kind; after its first "
                "character `*` stands for any text"
            ),
            otherwise="no unit",
            read=read_may_fail,
        ),
    ] = ()
    show_output: Annotated[
        bool,
        Key(
            "Whether messages quote what was printed on the host: the activation's log, the "
            "journal of a failed unit, and in checks the output of a command and the body of an "
            "answer. "
            "`false` if they may hold what not everybody who sees the run may read.",
        ),
    ] = True
    checks: Annotated[
        tuple[Check, ...],
        Key(
            "The health checks by name: all must be good before the commit.",
            takes="a map of checks",
            write='write a map, such as checks: {web: {http: "http://localhost:8080/"}}',
            limits=(
                f"at most {MAX_CHECKS} for a host; a name has 1 to 63 of `A-Z a-z 0-9 _ -`; "
                "no `-` at its start"
            ),
            each=Check,
        ),
    ] = ()
    """Sorted by name."""


DEFAULTS: Final = Activation()
ACTIVATION: Final = Table(
    Activation,
    "How a host is switched, for the stack or for one host. A time is a whole number with one "
    "unit: `30s`, `10m` or `2h`. `timeout`, `checkDeadline`, `confirm` and `commit` each bound "
    "one phase: a phase that takes longer ends with the host rolled back. The first three "
    "together bound how long a host may run a system that nobody has confirmed.",
)
WRITE_ACTIVATION: Final = "write a map, such as activation: {checkDeadline: 2m}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ActivationOverlay:
    """What one `activation` of the config says, to be laid over others.

    It is kept with the settings: what it is laid over may be known only once the flake is
    evaluated, and what does not go together then is reported where the config says it.
    """

    section: Section
    fields: Mapping[str, Any]
    checks: Mapping[str, Check]
    is_valid: bool
    """Whether all fields could be read, so that what depends on two of them can be checked."""

    def over(self, base: Activation, problems: list[Problem]) -> Activation:
        """Lay it over `base`; problems that only both have together go to `problems`."""
        section = replace(self.section, problems=problems)
        checks = {check.name: check for check in base.checks} | dict(self.checks)
        activation = replace(
            base, **self.fields, checks=tuple(checks[name] for name in sorted(checks))
        )
        if self.is_valid and _check_settle(section, activation):
            _check_durations(section, activation, base, self.checks)
        _check_count(section, activation)
        return activation


def read_overlay(parent: Section) -> ActivationOverlay | None:
    """Read `activation`, if there is one; where a key has a problem, the rest is still read."""
    values = parent.read_map("activation")
    if values is None:
        return None
    section = parent.open("activation", values, ACTIVATION)
    before = len(section.problems)
    fields = section.read_fields()
    is_valid = len(section.problems) == before
    return ActivationOverlay(
        section=section, fields=fields, checks=read_checks(section), is_valid=is_valid
    )


def read_activation(parent: Section, base: Activation) -> Activation:
    """Read `activation`, and lay it over `base`."""
    overlay = read_overlay(parent)
    return overlay.over(base, parent.problems) if overlay else base


def _check_settle(section: Section, activation: Activation) -> bool:
    """Reject a deadline within `settle`, at the level that makes it so; say whether all is well."""
    if activation.settle.seconds < activation.check_deadline.seconds:
        return True
    if key := _first_set(section, "settle", "checkDeadline"):
        section.reject(
            key,
            "leaves no time to check: settle is not shorter than checkDeadline",
            "write settle shorter, or checkDeadline longer",
        )
    return False


def _check_durations(
    section: Section, activation: Activation, base: Activation, own: Mapping[str, Check]
) -> None:
    """Reject checks that cannot be done in their time; what `base` has wrong is reported there."""
    for check in activation.checks:
        excess = _excess(check, activation)
        if not excess:
            continue
        if check.name in own:
            checks = section.open("checks", section.read_map("checks") or {})
            checks.reject(check.name, f"may take too long: {excess}", _remedy(check))
            continue
        key = (
            _first_set(section, "confirm")
            if check.origin is CheckOrigin.DEPLOYER
            else _first_set(section, "checkDeadline", "settle")
        )
        if key and not _excess(check, base):
            why = f"conflicts with the check {check.name}: {excess}"
            section.reject(key, why, _remedy(check))


def _first_set(section: Section, *keys: str) -> str:
    """Give the first of these keys that is set here, or nothing."""
    return next((key for key in keys if key in section.values), "")


def _excess(check: Check, activation: Activation) -> str:
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


def _check_count(section: Section, activation: Activation) -> None:
    if len(activation.checks) > MAX_CHECKS and "checks" in section.values:
        section.reject(
            "checks",
            f"makes {len(activation.checks)} checks for one host: at most {MAX_CHECKS} are allowed",
            "write fewer checks, or several in one command",
        )
