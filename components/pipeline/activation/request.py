"""What a host is told of an attempt: the times of its phases, its checks, and who asks for what.

It goes over stdin, after the runner: not into an argv, which everybody on the host can read.
"""

from dataclasses import dataclass

from ..config.activation import Activation
from ..config.checks import Check, CheckOrigin
from ..errors import printable
from ..transport.transport import Transport

SEPARATOR = "\x1f"
"""Between the fields of a check; the config lets no control character in."""
TEXT_LIMIT = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptSpec:
    """`by` and `release` are for people: who deploys, and what."""

    activation: Activation
    checks: tuple[Check, ...] = ()
    """With their placeholders filled."""
    by: str = "unknown"
    release: str = ""
    stack: str = ""
    """Whose deployment it is: the same stack may go on where an `up` of its own was cut off."""

    @classmethod
    def of(
        cls, transport: Transport, *, by: str, release: str, values: dict[str, str], stack: str = ""
    ) -> "AttemptSpec":
        """The spec for a host; `values` are what its checks' placeholders stand for."""
        host = transport.host
        named = {"name": host.name, "address": transport.address, **values}
        checks = tuple(check.filled(named) for check in host.activation.checks)
        return cls(activation=host.activation, checks=checks, by=by, release=release, stack=stack)

    def seen_from(self, origin: CheckOrigin) -> tuple[Check, ...]:
        """The checks that are made from there."""
        return tuple(check for check in self.checks if check.origin is origin)

    @property
    def text(self) -> bytes:
        """A line a setting (`key value`), a line a check on the host, and `end`: all of it came."""
        times = self.activation
        settings = {
            "mode": times.mode,
            "timeout": times.timeout.seconds,
            "settle": times.settle.seconds,
            "deadline": times.check_deadline.seconds,
            "confirm": times.confirm.seconds,
            "commit": times.commit.seconds,
            "keep": times.keep_generations or 0,
            "by": printable(self.by, TEXT_LIMIT),
            "release": printable(self.release, TEXT_LIMIT),
            "stack": printable(self.stack, TEXT_LIMIT),
        }
        lines = [f"{key} {value}" for key, value in settings.items()]
        lines += [*map(_line, self.seen_from(CheckOrigin.HOST)), "end"]
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
