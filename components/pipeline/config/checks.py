"""Health checks: as values, and how they are read from the config."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Annotated, Final

from ..values import Duration, InvalidValue, Name
from .check_templates import (
    endpoint_of,
    fill,
    http_url,
    in_endpoint,
    in_url,
    placeholders_in,
    tcp_endpoint,
    template,
    unit_name,
)
from .schema import Key, Table
from .section import Section

FROM_RELEASE: Final = frozenset({"appRef", "appRev"})
"""Placeholders that only a host with an appRef can fill."""

_TEXT_LIMITS: Final = "1 to 1000 characters, no control characters"
_HTTP_ONLY: Final = "only with `http`"
_WRITE_NAME: Final = "write a name of letters, digits, '_' and '-', such as web"
_WRITE_CHECK: Final = 'write a map with a kind, such as {http: "http://localhost:8080/"}'
_WRITE_KIND: Final = "write one of http, tcp, unit and command"


class CheckKind(StrEnum):
    """What a check looks at: also the key that says where."""

    HTTP = "http"
    TCP = "tcp"
    UNIT = "unit"
    COMMAND = "command"


class CheckOrigin(StrEnum):
    """Who makes a check."""

    HOST = "host"
    DEPLOYER = "deployer"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One health check; `status`, `contains` and `header` count for http alone.

    `target`, `contains` and `header` have placeholders in them until `filled`. Empty `contains`
    and `header` ask for nothing.
    """

    name: str
    kind: CheckKind
    target: Annotated[
        str,
        Key(
            "A GET of this url; redirects are not followed, and a certificate is verified.",
            name="http",
            takes="a url",
            write='write a url, such as "http://localhost:8080/"',
            limits=(
                f"`http://` or `https://`, without user and password; {_TEXT_LIMITS}; in its "
                "host only `{address}` and `{name}`"
            ),
            required=False,
            parse=http_url,
        ),
        Key(
            "A connection to this host and port.",
            name="tcp",
            takes="a host and port",
            write='write a host and port, such as "localhost:5432" or "{address}:22"',
            limits=f"`host:port`; {_TEXT_LIMITS}; only `{{address}}` and `{{name}}`",
            required=False,
            parse=tcp_endpoint,
        ),
        Key(
            "This systemd unit is active.",
            name="unit",
            takes="the name of a unit",
            write="write a unit with its kind, such as app.service",
            limits=(
                "1 to 255 of `A-Z a-z 0-9 : _ . @ \\ -`; no `-` at its start; a service, socket, "
                "target, timer, mount or path"
            ),
            required=False,
            parse=unit_name,
        ),
        Key(
            "A command line for `sh` on the host, run as root with the tools of the running "
            "system, that exits with 0.",
            name="command",
            takes="a command",
            write="write the command as one line for sh, such as: systemctl is-active app",
            limits=_TEXT_LIMITS,
            required=False,
            parse=template,
        ),
    ]
    origin: Annotated[
        CheckOrigin,
        Key(
            "Who makes the check: the host itself, or the machine that runs `pulumi up`.",
            name="from",
            limits="`deployer` only with `http` and `tcp`",
        ),
    ] = CheckOrigin.HOST
    status: Annotated[
        int,
        Key(
            "The status of the answer.",
            takes="a status code",
            write="write a status code, such as 200",
            limits=_HTTP_ONLY,
            within=(200, 599),
        ),
    ] = 200
    contains: Annotated[
        str,
        Key(
            "What the body contains: from the deployer in its first 64 KiB, on the host in the "
            "first 128 KiB of the answer, headers included.",
            takes="a text",
            write='write a text of the body, such as "app {appRef}"',
            limits=f"{_TEXT_LIMITS}; {_HTTP_ONLY}",
            parse=template,
        ),
    ] = ""
    header: Annotated[
        str,
        Key(
            "What one header line of the answer contains, in upper or lower case.",
            takes="a text",
            write='write a text of a header line, such as "X-Release: {appRef}"',
            limits=f"{_TEXT_LIMITS}; {_HTTP_ONLY}",
            parse=template,
        ),
    ] = ""
    period: Annotated[
        Duration,
        Key(
            "Between two tries: on the host from the end of one to the start of the next, from the "
            "deployer from start to start.",
            most="10m",
        ),
    ] = Duration("1s")
    timeout: Annotated[Duration, Key("For each try.", most="10m")] = Duration("5s")
    retries: Annotated[
        int,
        Key(
            "How many tries may fail before the first good one.",
            takes="a number of tries",
            write="write a number of tries, such as 10",
            within=(0, 1000),
        ),
    ] = 10
    hold: Annotated[
        Duration,
        Key(
            "How long the check must stay good after its first good try.",
            most="1h",
            zero=True,
            example="30s",
        ),
    ] = Duration("0s")

    @property
    def longest(self) -> int:
        """Seconds that its retries and its hold take, the time of the tries themselves left out."""
        return self.retries * self.period.seconds + self.hold.seconds

    @property
    def placeholders(self) -> frozenset[str]:
        """The names in braces in it."""
        if self.kind is CheckKind.UNIT:
            return frozenset()
        texts = (self.target, self.contains, self.header)
        return frozenset().union(*map(placeholders_in, texts))

    @property
    def is_at_name(self) -> bool:
        """Whether it connects to the host by its name in the config."""
        endpoint = endpoint_of(self.target) if self.kind is CheckKind.HTTP else self.target
        is_connection = self.kind in {CheckKind.HTTP, CheckKind.TCP}
        return is_connection and "name" in placeholders_in(endpoint)

    def filled(self, values: Mapping[str, str]) -> "Check":
        """Replace the placeholders, once: a brace that was written twice is then a single one.

        Raises:
            KeyError: the check has a placeholder without a value.
        """
        match self.kind:
            case CheckKind.HTTP:
                target = fill(self.target, lambda name: in_url(name, values[name]))
            case CheckKind.TCP:
                target = fill(self.target, lambda name: in_endpoint(values[name]))
            case CheckKind.COMMAND:
                target = fill(self.target, values.__getitem__)
            case CheckKind.UNIT:
                return self
        return replace(
            self,
            target=target,
            contains=fill(self.contains, values.__getitem__),
            header=fill(self.header, values.__getitem__),
        )


CHECK: Final = Table(
    Check,
    "One health check: exactly one of `http`, `tcp`, `unit` and `command`. It is tried until it "
    "succeeds, may fail `retries` times before that, and must then keep succeeding for `hold`: a "
    "failure within it counts at once. A config is refused if the pauses and `hold` alone take "
    "too long: on the host `settle + retries * period + hold` must fit into `checkDeadline`, and "
    "from the deployer `retries * period + hold` and 5s for the connection of the commit into "
    "`confirm`. The time of the tries themselves is not counted there, but is part of these "
    "times all the same, so leave room for it.\n\n"
    "`{address}`, `{name}`, `{appRef}`, `{appRev}` and `{toplevel}` stand for those of the host "
    "in `http`, `tcp`, `command`, `contains` and `header`; a brace itself is written twice, `{{` "
    "or `}}`. An IPv6 address gets its brackets in `http` and `tcp`. A check with `{appRef}` or "
    "`{appRev}` requires an `appRef`.",
)
_ONLY_ON_HOST: Final = frozenset({CheckKind.UNIT, CheckKind.COMMAND})


def read_checks(activation: Section) -> dict[str, Check]:
    """Read the checks of an `activation`, by name; those with a problem are left out."""
    values = activation.read_map("checks", _remedy(activation.values.get("checks")))
    checks = activation.open("checks", values or {})
    found = {}
    for name in checks.values:
        try:
            Name.parse(name)
        except InvalidValue as error:
            checks.reject(name, f"the name of the check {error.reason()}", _WRITE_NAME)
        one = checks.read_map(name, _WRITE_CHECK)
        if one is not None and (check := _read_check(name, checks, one)):
            found[name] = check
    return found


def _remedy(value: object) -> str:
    """Say where a time belongs that is written as `checks`."""
    is_time = isinstance(value, str) and re.fullmatch(r"[0-9]+[smh]", value)
    return "write the time of all checks together as checkDeadline" if is_time else ""


def _read_check(name: str, checks: Section, values: Mapping[str, object]) -> Check | None:
    section = checks.open(name, values, CHECK)
    kind = _kind(name, checks, section)
    before = len(section.problems)
    read = section.read_fields(without=frozenset(CheckKind) - {kind})
    is_valid = len(section.problems) == before
    if kind is None:
        return None
    _check_fit(section, kind, read.get("origin"))
    if not is_valid:
        return None
    return Check(name=name, kind=kind, **read)


def _kind(name: str, checks: Section, section: Section) -> CheckKind | None:
    """Find the kind of a check; exactly one is required."""
    kinds = [kind for kind in CheckKind if kind in section.values]
    if not kinds:
        unknown = (key for key in section.values if key not in CHECK)
        if not any(CHECK.nearest(key) in frozenset(CheckKind) for key in unknown):
            checks.reject(name, "does not say what to check", _WRITE_KIND)
        return None
    for more in kinds[1:]:
        why = f"is a second kind of check: {kinds[0]} is set too"
        section.reject(more, why, "write one kind, and a check for each")
    return kinds[0] if len(kinds) == 1 else None


def _check_fit(section: Section, kind: CheckKind, origin: CheckOrigin | None) -> None:
    """Reject what means nothing to this kind of check: it would be ignored in silence."""
    for key in ("status", "contains", "header"):
        if kind is not CheckKind.HTTP and key in section.values:
            section.reject(
                key, f"cannot be used with {kind}", "remove the key, or write an http check"
            )
    if origin is CheckOrigin.DEPLOYER and kind in _ONLY_ON_HOST:
        section.reject(
            "from", f"cannot be used with {kind}: only the host can look at it", "write from: host"
        )
