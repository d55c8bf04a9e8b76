"""The keys of `activation` and of its checks: for the parser, its messages and docs/config.md."""

from typing import Final

from .schema import Key, Table

MAX_CHECKS: Final = 16
"""Checks that one host may have."""


def _time(  # noqa: PLR0913 a row of a table
    name: str, default: str, most: str, meaning: str, *, zero: bool = False, such: str = ""
) -> Key:
    return Key(
        name=name,
        takes="a time",
        write=f"write a whole number with a unit, at most {most}, such as {such or default}",
        meaning=meaning,
        limits=f"{'0s' if zero else '1s'} to {most}",
        default=default,
        most=most,
        zero=zero,
    )


ACTIVATION: Final = Table(
    path="activation",
    about=(
        "How a host is switched, for the stack or in a host. A time is a whole number with one "
        "unit: `30s`, `10m` or `2h`. `timeout`, `checkDeadline`, `confirm` and `commit` bound one "
        "phase each: one that takes longer ends with the host back on its old system. The first "
        "three together bound how long a host may run a system that nobody has confirmed."
    ),
    keys=(
        _time(
            "timeout",
            "10m",
            "4h",
            "For `switch-to-configuration` of the new system, and of the old one on the way back.",
        ),
        _time(
            "settle",
            "10s",
            "10m",
            "After the activation, how long the host's units must stay good before the checks "
            "begin. They are looked at from its first moment, and a failed one counts at once; in "
            "its second half systemd may start no service again.",
            zero=True,
        ),
        _time(
            "checkDeadline",
            "2m",
            "1h",
            "For all checks on the host together, `settle` included: it is longer.",
        ),
        _time(
            "confirm",
            "2m",
            "1h",
            "From the end of the checks on the host to the commit; the checks from the deployer "
            "are made within it.",
        ),
        _time("commit", "1m", "10m", "For the commit: the profile and the boot loader."),
        _time(
            "call",
            "30s",
            "5m",
            "For a call that asks a host what it runs (10s at most) or takes an attempt back: one "
            "that hangs is given up. An attempt is followed for 60s at a time, whatever this is.",
        ),
        Key(
            name="mode",
            takes="switch or boot",
            write="write switch or boot",
            meaning=(
                "`switch` runs the new system now. `boot` makes it the boot default: it runs "
                "from the next start of the host, and no check is made before."
            ),
            limits="`switch` or `boot`",
            default="switch",
        ),
        Key(
            name="keepGenerations",
            takes="a number of generations",
            write="write a number of generations, such as 10",
            meaning=(
                "How many generations of the system profile stay after a commit, the current one "
                "included; never removed are the one before it and the one that was booted."
            ),
            limits="2 to 1000",
            otherwise="all are kept",
            within=(2, 1000),
            plain=int,
        ),
        Key(
            name="checks",
            takes="a map of checks",
            write='write a map, such as checks: {web: {http: "http://localhost:8080/"}}',
            meaning="The health checks by name: all must be good before the commit.",
            limits=(
                f"at most {MAX_CHECKS} for a host; a name has 1 to 63 of `A-Z a-z 0-9 _ -`; "
                "no `-` at its start"
            ),
        ),
    ),
)

CHECKS: Final = Table(path="activation.checks", about="The checks by name.", keys=())
"""The map of checks: its keys are their names."""

_TEXT_LIMITS: Final = "1 to 1000 characters, no control characters"
_HTTP_ONLY: Final = "only with `http`"

CHECK: Final = Table(
    path="activation.checks.<name>",
    about=(
        "One health check: exactly one of `http`, `tcp`, `unit` and `command`. It is tried again "
        "and again until it is good, may fail `retries` times before that, and must then stay "
        "good for `hold`: a failure within it counts at once. A config is refused where the pauses "
        "and `hold` alone take too long: on the host `settle + retries * period + hold` fits into "
        "`checkDeadline`, and from the deployer `retries * period + hold` and 5s for the "
        "connection of the commit into `confirm`. The time of the tries themselves is not counted "
        "there; it is part of these times all the same, so leave room for it.\n\n"
        "`{address}`, `{name}`, `{appRef}`, `{appRev}` and `{toplevel}` stand for those of the "
        "host in `http`, `tcp`, `command`, `contains` and `header`; a brace itself is written "
        "twice, `{{` or `}}`. An IPv6 address gets its brackets in `http` and `tcp`. A check with "
        "`{appRef}` or `{appRev}` needs an `appRef`."
    ),
    keys=(
        Key(
            name="http",
            takes="a url",
            write='write a url, such as "http://localhost:8080/"',
            meaning="A GET of this url; redirects are not followed, a certificate is verified.",
            limits=(
                f"`http://` or `https://`, without user and password; {_TEXT_LIMITS}; in its "
                "host only `{address}` and `{name}`"
            ),
        ),
        Key(
            name="tcp",
            takes="a host and port",
            write='write a host and port, such as "localhost:5432" or "{address}:22"',
            meaning="A connection to this host and port.",
            limits=f"`host:port`; {_TEXT_LIMITS}; only `{{address}}` and `{{name}}`",
        ),
        Key(
            name="unit",
            takes="the name of a unit",
            write="write a unit with its kind, such as app.service",
            meaning="This systemd unit is active.",
            limits=(
                "1 to 255 of `A-Z a-z 0-9 : _ . @ \\ -`; no `-` at its start; a service, socket, "
                "target, timer, mount or path"
            ),
        ),
        Key(
            name="command",
            takes="a command",
            write="write the command as one line for sh, such as: systemctl is-active app",
            meaning=(
                "A command line for `sh` on the host, as root and with the tools of the system "
                "that runs, that ends with 0."
            ),
            limits=_TEXT_LIMITS,
        ),
        Key(
            name="from",
            takes="host or deployer",
            write="write host or deployer",
            meaning="Who makes the check: the host itself, or the machine that runs `pulumi up`.",
            limits="`host` or `deployer`; `deployer` only with `http` and `tcp`",
            default="host",
        ),
        Key(
            name="status",
            takes="a status code",
            write="write a status code, such as 200",
            meaning="The status of the answer.",
            limits=f"200 to 599; {_HTTP_ONLY}",
            default="200",
            within=(200, 599),
            plain=int,
        ),
        Key(
            name="contains",
            takes="a text",
            write='write a text of the body, such as "app {appRef}"',
            meaning=(
                "What the body contains: from the deployer in its first 64 KiB, on the host in the "
                "first 128 KiB of the answer, headers included."
            ),
            limits=f"{_TEXT_LIMITS}; {_HTTP_ONLY}",
        ),
        Key(
            name="header",
            takes="a text",
            write='write a text of a header line, such as "X-Release: {appRef}"',
            meaning="What one header line of the answer contains, in capital or small letters.",
            limits=f"{_TEXT_LIMITS}; {_HTTP_ONLY}",
        ),
        _time(
            "period",
            "1s",
            "10m",
            "Between two tries: on the host from the end of one to the start of the next, from the "
            "deployer from start to start.",
        ),
        _time("timeout", "5s", "10m", "For each try."),
        Key(
            name="retries",
            takes="a number of tries",
            write="write a number of tries, such as 10",
            meaning="How many tries may fail before the first good one.",
            limits="0 to 1000",
            default="10",
            within=(0, 1000),
            plain=int,
        ),
        _time(
            "hold",
            "0s",
            "1h",
            "How long the check must stay good after its first good try.",
            zero=True,
            such="30s",
        ),
    ),
)
