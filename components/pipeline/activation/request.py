"""What a host is told about an attempt: timeouts, checks, who deploys and what.

It is sent on stdin after the runner, not in argv, which everybody on the host can read.
"""

from dataclasses import dataclass

from ..config.activation import Activation
from ..config.checks import Check, CheckOrigin
from ..errors import printable
from ..transport.transport import Transport

SEPARATOR = "\x1f"
"""Between the fields of a check; the config allows no control characters."""
TEXT_LIMIT = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptRequest:
    """What a host is asked to do; `by` and `release` tell people who deploys what."""

    activation: Activation
    checks: tuple[Check, ...] = ()
    """Placeholders are filled."""
    by: str = "unknown"
    release: str = ""
    stack: str = ""
    """Who owns the deployment: the same stack may continue after an interrupted `up`."""

    @classmethod
    def of(
        cls, transport: Transport, *, by: str, release: str, values: dict[str, str], stack: str = ""
    ) -> "AttemptRequest":
        """The request for a host; `values` replace the placeholders of its checks."""
        host = transport.host
        named = {"name": host.name, "address": transport.address, **values}
        checks = tuple(check.filled(named) for check in host.activation.checks)
        return cls(activation=host.activation, checks=checks, by=by, release=release, stack=stack)

    def checks_from(self, origin: CheckOrigin) -> tuple[Check, ...]:
        """The checks that are run from there."""
        return tuple(check for check in self.checks if check.origin is origin)

    @property
    def text(self) -> bytes:
        """A line per setting (`key value`), a line per check on the host, and a final `end`."""
        times = self.activation
        settings = {
            "mode": times.mode,
            "timeout": times.timeout.seconds,
            "settle": times.settle.seconds,
            "deadline": times.check_deadline.seconds,
            "confirm": times.confirm.seconds,
            "commit": times.commit.seconds,
            "keep": times.keep_generations or 0,
            "reboot": "yes" if times.reboot_on_failed_rollback else "no",
            "mayFail": " ".join(times.may_fail),
            "output": "yes" if times.show_output else "no",
            "by": printable(self.by, TEXT_LIMIT),
            "release": printable(self.release, TEXT_LIMIT),
            "stack": printable(self.stack, TEXT_LIMIT),
        }
        lines = [f"{key} {value}" for key, value in settings.items()]
        lines += [*map(_line, self.checks_from(CheckOrigin.HOST)), "end"]
        return "".join(f"{line}\n" for line in lines).encode()


def _line(check: Check) -> str:
    return SEPARATOR.join(
        (
            "check",
            check.name,
            check.kind,
            check.target,
            str(check.status),
            check.contains,
            check.header,
            str(check.period.seconds),
            str(check.timeout.seconds),
            str(check.retries),
            str(check.hold.seconds),
        )
    )
