"""How long nix may take, by what it does."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Final

from ..values import Duration
from .schema import Key, Table
from .section import Section


class Phase(StrEnum):
    """What nix is called for; the names of the keys."""

    FETCH = "fetch"
    EVALUATE = "evaluate"
    BUILD = "build"
    COPY = "copy"


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """The longest time for each phase."""

    fetch: Annotated[
        Duration,
        Key("For fetching the flake, or for fetching and locking its inputs.", most="24h"),
    ] = Duration("10m")
    evaluate: Annotated[
        Duration,
        Key(
            "For evaluating one host or one image, and for what nix builds meanwhile "
            "(import-from-derivation).",
            most="24h",
        ),
    ] = Duration("10m")
    build: Annotated[Duration, Key("For building all that the release needs.", most="24h")] = (
        Duration("6h")
    )
    copy: Annotated[Duration, Key("For copying a release to one host.", most="24h")] = Duration(
        "1h"
    )

    def of(self, phase: Phase) -> Duration:
        """The time of a phase."""
        found: Duration = getattr(self, phase.value)
        return found


DEFAULT_TIMEOUTS: Final = Timeouts()
TIMEOUTS: Final = Table(
    Timeouts,
    "How long nix may take. After that it is ended, and the run fails; what it has built, fetched "
    "or copied whole by then is kept, and the next run goes on from there.",
)


def read_timeouts(stack: Section) -> Timeouts:
    """Read the timeouts of a stack."""
    values = stack.read_map("timeouts")
    if values is None:
        return DEFAULT_TIMEOUTS
    return Timeouts(**stack.open("timeouts", values, TIMEOUTS).read_fields())
