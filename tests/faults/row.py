"""A row of the fault matrix."""

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.command_result import CommandResult


class Outcome(StrEnum):
    """What a host runs and boots once it is idle again."""

    NEW = "NEW"
    OLD = "OLD"
    EITHER = "either"
    """Only expected: it depends on the moment of the fault."""
    EACH = "each"
    """Of a fleet: some hosts on NEW and some on OLD, as the row says."""
    OTHER = "other"
    """The system that somebody else has switched to meanwhile: it is theirs."""
    BETWEEN = "between"
    """Only observed: neither of the two, or the host runs one and boots the other."""


class Driver(StrEnum):
    """What deploys in a row."""

    ENGINE = "engine"
    """`pulumi up`."""
    PIPELINE = "pipeline"
    """The pipeline's own classes, without the engine: fast enough for hundreds of seeds."""
    FLEET = "fleet"
    """`pulumi up` of one stack with all hosts."""
    SERVICE = "service"
    """`pulumi up` of a Docker service, on a dockerd of the run's own."""
    INSTANCE = "instance"
    """`pulumi up` of a host that it creates itself, in an incusd of the run's own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One kind of fault; `inject` deploys, and injects the fault at its moment."""

    id: str
    what: str
    """What is done, for readers of the matrix."""
    expected: Outcome
    inject: "Callable[..., CommandResult | None]"
    """Takes the scenario of its driver; returns the deployer's result, unless it was killed."""
    driver: Driver = Driver.ENGINE
    times: int = 1
    """How often the row is played in a full run, with a new seed each time."""
    quick: int = 0
    """How often in a quick run."""
    message: str = ""
    """A regular expression that the deployer's output has to match if the outcome is not NEW."""
    unrecorded: bool = False
    """Whether the host cannot even record how the attempt ended."""
    torn: bool = False
    """Whether the fault may hit between the writes of the profile and of the boot loader. Then what
    runs and boots decides, and the next deployment has to bring the profile in line with it."""
    no_downtime: bool = False
    """Whether a client that keeps asking the service must not lose a single request."""
    why_unavailable: "Callable[[], str]" = str
    """Why this machine cannot inject it; empty if it can."""
    within: float = 70.0
    """Most seconds from the fault to the end of the attempt: 20, 10 and 10 s for activation, checks
    and confirmation, and 30 s for the rest."""
