"""A row of the fault plan."""

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.command_result import CommandResult


class Ending(StrEnum):
    """What a host runs and boots, once nothing is under way."""

    NEW = "NEW"
    OLD = "OLD"
    EITHER = "either"
    """Only expected: the moment decides."""
    EACH = "each"
    """Of a fleet: some hosts on NEW and some on OLD, as the row says."""
    BETWEEN = "between"
    """Only found: neither of them, or one that runs and the other that boots."""


class By(StrEnum):
    """Who deploys in a row."""

    ENGINE = "engine"
    """`pulumi up`."""
    CLASSES = "classes"
    """The program's own classes, without the engine: quick enough for hundreds of seeds."""
    FLEET = "fleet"
    """`pulumi up` of one stack with all hosts."""
    SERVICE = "service"
    """`pulumi up` of a Docker service, on a dockerd of the run's own."""
    INSTANCE = "instance"
    """`pulumi up` of a host that it makes itself, in an incusd of the run's own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One fault at one kind of moment; `play` deploys, and does the harm meanwhile."""

    id: str
    group: str
    what: str
    """What is done, for a reader of the table."""
    expected: Ending
    play: "Callable[..., CommandResult | None]"
    """Gets a scene of its `by`; gives what the deployer said, where it was left alive to say
    something."""
    by: By = By.ENGINE
    times: int = 1
    quick: int = 0
    """How often in a quick run."""
    says: str = ""
    """A pattern that the deployer's words must match: a person reads them."""
    forgets: bool = False
    """Whether the host cannot even write down how the attempt has ended."""
    torn: bool = False
    """Whether the harm may come between the profile and the boot loader, which are two writes. What
    runs and boots counts, and the next deployment has to bring the profile back to it."""
    unnoticed: bool = False
    """Whether who asks a service all the time may notice nothing."""
    within: float = 70.0
    """Seconds from the fault to the end: activation, checks and confirmation of 20, 10 and 10 s,
    and 30."""
