"""What each host is to become, held against what it runs: one action a host, and its text."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from ..activation.protocol import Observation
from ..config.activation import Mode
from ..config.stack import HostSpec
from ..errors import HostError
from ..evaluate.attribute import EvaluatedAttr, ImageBuild
from ..values import StorePath
from .observe import Observed


class Action(StrEnum):
    """What there is to do on a host."""

    UNCHANGED = "unchanged"
    DEPLOY = "deploy"
    STAGED = "staged"
    """NEW is the boot default already, and runs from the next start (`mode: boot`)."""
    BUSY = "busy"
    UNREACHABLE = "unreachable"
    UNKNOWN = "unknown"
    """Nobody asked the host (`observe: never`, or an update)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostPlan:
    """One host: what it is to run, what it runs, and why it may not get there."""

    host: HostSpec
    system: EvaluatedAttr
    action: Action
    current: StorePath | None = None
    default: StorePath | None = None
    """The host's boot default."""
    committed: tuple[str, StorePath] | None = None
    """The stack of the last commit, and what ran before it; None where something else runs."""
    trouble: HostError | None = None
    image: ImageBuild | None = None
    """What it is made from, where the program makes it."""

    @property
    def builds(self) -> tuple[EvaluatedAttr, ...]:
        """All that has to be built for it."""
        return (self.system, *(self.image.parts if self.image else ()))


def decide(
    hosts: tuple[HostSpec, ...],
    systems: Mapping[str, EvaluatedAttr],
    observed: Observed,
    images: Mapping[str, ImageBuild] | None = None,
) -> tuple[HostPlan, ...]:
    """Hold desired against observed, host by host, in the order of their names."""
    made = images or {}
    plans = (_decide(host, systems[host.name], observed.get(host.name)) for host in hosts)
    return tuple(replace(plan, image=made.get(plan.host.name)) for plan in plans)


def _decide(
    host: HostSpec, system: EvaluatedAttr, seen: Observation | HostError | None
) -> HostPlan:
    match seen:
        case None:
            return HostPlan(host=host, system=system, action=Action.UNKNOWN)
        case HostError():
            return HostPlan(host=host, system=system, action=Action.UNREACHABLE, trouble=seen)
        case Observation(current=current) if current == system.out_path == seen.profile:
            action = Action.UNCHANGED
        case Observation(current=current) if _is_staged(host, system, seen):
            action = Action.STAGED
        case Observation(current=current) if seen.attempt or seen.switching:
            action = Action.BUSY
        case Observation(current=current):
            action = Action.DEPLOY
    before = seen.committed_from
    return HostPlan(
        host=host,
        system=system,
        action=action,
        current=current,
        default=seen.profile,
        committed=(seen.committed_by, before) if before else None,
    )


def _is_staged(host: HostSpec, system: EvaluatedAttr, seen: Observation) -> bool:
    return host.activation.mode is Mode.BOOT and seen.profile == system.out_path


def one_ahead(plan: HostPlan, recorded: StorePath | None, stack: str) -> str | None:
    """The line for a host that has committed what the state does not know of: `up` was killed.

    The next attempt goes on from what the host runs.
    """
    if recorded is None or plan.committed != (stack, recorded):
        return None
    if plan.current is None or plan.current in (recorded, plan.system.out_path):
        return None
    return f"it runs {plan.current.path}: the `up` that deployed it was interrupted"


def drift(plan: HostPlan, recorded: StorePath | None, urn: str) -> str | None:
    """The line for a host that somebody else has changed: what it runs, or what it boots.

    `recorded` is what the state says was deployed last; None where it says nothing. `urn` is the
    resource to be replaced.
    """
    ours = (recorded, plan.system.out_path)
    if recorded is None or plan.current is None:
        return None
    if plan.current not in ours:
        if plan.host.activation.mode is Mode.BOOT and plan.default in ours:
            return None  # staged: it runs what it ran before
        said = f"it runs {plan.current.path}, and was deployed as {recorded.path}"
    elif plan.default is not None and plan.default not in ours:
        said = f"it runs {plan.current.path}, and would start with {plan.default.path}"
    else:
        return None
    return f"drifted: {said}; repair: pulumi up --replace '{urn}'"
