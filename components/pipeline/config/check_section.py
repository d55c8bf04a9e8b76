"""Reads the health checks of a config: what is wrong with one is written down."""

import re
from collections.abc import Mapping
from typing import Final

from ..values import Duration, InvalidValue
from .activation_table import CHECK, CHECKS
from .checks import (
    Check,
    CheckKind,
    CheckName,
    CheckOrigin,
    http_url,
    tcp_endpoint,
    template,
    unit_name,
)
from .section import Section, number_of, one_of, path_to, time_of

_TARGETS: Final = {
    CheckKind.HTTP: http_url,
    CheckKind.TCP: tcp_endpoint,
    CheckKind.UNIT: unit_name,
    CheckKind.COMMAND: template,
}
_OF_HTTP: Final = ("status", "contains", "header")
_ON_HOST_ALONE: Final = frozenset({CheckKind.UNIT, CheckKind.COMMAND})
_WRITE_NAME: Final = "write a name of letters, digits, '_' and '-', such as web"
_WRITE_CHECK: Final = 'write a map with a kind, such as {http: "http://localhost:8080/"}'
_WRITE_KIND: Final = "write one of http, tcp, unit and command"


def read_checks(activation: Section) -> dict[str, Check]:
    """Read the checks that a map `activation` holds, by name; those with a problem are left out."""
    values = activation.mapping("checks", _remedy(activation.values.get("checks")))
    checks = section_of(activation, values or {})
    found = {}
    for name in checks.values:
        try:
            CheckName.parse(name)
        except InvalidValue as error:
            checks.refuse(name, f"the name of the check {error.reason()}", _WRITE_NAME)
        one = checks.mapping(name, _WRITE_CHECK)
        if one is not None and (check := _check(name, checks, one)):
            found[name] = check
    return found


def _remedy(value: object) -> str:
    """Say where a time belongs that is written as `checks`."""
    is_time = isinstance(value, str) and re.fullmatch(r"[0-9]+[smh]", value)
    return "write the time of all checks together as checkDeadline" if is_time else ""


def section_of(activation: Section, values: Mapping[str, object]) -> Section:
    """Open the map of checks, whose keys are their names."""
    return Section(
        values=values,
        table=CHECKS,
        problems=activation.problems,
        path=path_to(activation.path, "checks"),
        hidden=activation.hides("checks"),
    )


def _check(name: str, checks: Section, values: Mapping[str, object]) -> Check | None:
    section = checks.inner(name, values, CHECK)
    kind = _kind(name, checks, section)
    origin = section.read("from", one_of(CheckOrigin))
    status = section.read("status", number_of(CHECK["status"]))
    contains = section.read("contains", template, "")
    header = section.read("header", template, "")
    period = _time(section, "period")
    timeout = _time(section, "timeout")
    retries = section.read("retries", number_of(CHECK["retries"]))
    hold = _time(section, "hold")
    if kind is None:
        return None
    target = section.read(kind, _TARGETS[kind])
    _check_fit(section, kind, origin)
    if (
        target is None
        or origin is None
        or status is None
        or contains is None
        or header is None
        or period is None
        or timeout is None
        or retries is None
        or hold is None
    ):
        return None
    return Check(
        name=name,
        kind=kind,
        target=target,
        origin=origin,
        status=status,
        contains=contains,
        header=header,
        period=period,
        timeout=timeout,
        retries=retries,
        hold=hold,
    )


def _time(section: Section, name: str) -> Duration | None:
    return section.read(name, time_of(CHECK[name]))


def _kind(name: str, checks: Section, section: Section) -> CheckKind | None:
    """Find the one kind of a check; none and a second one are problems."""
    kinds = [kind for kind in CheckKind if kind in section.values]
    if not kinds:
        unknown = (key for key in section.values if key not in CHECK)
        if not any(CHECK.nearest(key) in _TARGETS for key in unknown):
            checks.refuse(name, "does not say what to check", _WRITE_KIND)
        return None
    for more in kinds[1:]:
        section.refuse(
            more, f"is a second kind beside {kinds[0]}", "write one kind, and a check for each"
        )
    return kinds[0] if len(kinds) == 1 else None


def _check_fit(section: Section, kind: CheckKind, origin: CheckOrigin | None) -> None:
    """Refuse what says nothing to this kind of check: it would be ignored in silence."""
    for key in _OF_HTTP:
        if kind is not CheckKind.HTTP and key in section.values:
            section.refuse(
                key, f"does not go with {kind}", "remove the key, or write an http check"
            )
    if origin is CheckOrigin.DEPLOYER and kind in _ON_HOST_ALONE:
        section.refuse(
            "from", f"does not go with {kind}: only the host can look at it", "write from: host"
        )
