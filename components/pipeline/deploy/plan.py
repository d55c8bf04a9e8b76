"""The plan: what each host should run, compared with what it runs."""

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
    """NEW is already the boot default, and runs after the next boot (`mode: boot`)."""
    BUSY = "busy"
    UNREACHABLE = "unreachable"
    UNKNOWN = "unknown"
    """The host was not asked (`observe: never`, or an update)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostPlan:
    """The desired and the observed system of one host, or the error from observing it."""

    host: HostSpec
    system: EvaluatedAttr
    action: Action
    current: StorePath | None = None
    default: StorePath | None = None
    """The host's boot default."""
    committed: tuple[str, StorePath] | None = None
    """The stack of the last commit, and what ran before it; None if something else runs now."""
    error: HostError | None = None
    image: ImageBuild | None = None
    """The image of an instance."""

    @property
    def builds(self) -> tuple[EvaluatedAttr, ...]:
        """Everything to build for it."""
        return (self.system, *(self.image.parts if self.image else ()))


def plan_hosts(
    hosts: tuple[HostSpec, ...],
    systems: Mapping[str, EvaluatedAttr],
    observed: Observed,
    images: Mapping[str, ImageBuild] | None = None,
) -> tuple[HostPlan, ...]:
    """Compare desired and observed state, in the order of `hosts`."""
    plans = (_plan_host(host, systems[host.name], observed.get(host.name)) for host in hosts)
    return tuple(replace(plan, image=(images or {}).get(plan.host.name)) for plan in plans)


def _plan_host(
    host: HostSpec, system: EvaluatedAttr, seen: Observation | HostError | None
) -> HostPlan:
    match seen:
        case None:
            return HostPlan(host=host, system=system, action=Action.UNKNOWN)
        case HostError():
            return HostPlan(host=host, system=system, action=Action.UNREACHABLE, error=seen)
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


def interrupted_commit(plan: HostPlan, recorded: StorePath | None, stack: str) -> str | None:
    """The remark on a host whose last commit is not in the state, because `up` was killed.

    The next attempt continues from what the host runs.
    """
    if recorded is None or plan.committed != (stack, recorded):
        return None
    if plan.current is None or plan.current in (recorded, plan.system.out_path):
        return None
    return f"it runs {plan.current.path}: the `up` that deployed it was interrupted"


def drift(plan: HostPlan, recorded: StorePath | None, urn: str) -> str | None:
    """The remark on a host that was changed outside this stack: what it runs, or what it boots.

    `recorded` is the last deployed system in the state, if there is one. `urn` is the resource to
    replace.
    """
    ours = (recorded, plan.system.out_path)
    if recorded is None or plan.current is None:
        return None
    if plan.current not in ours:
        if plan.host.activation.mode is Mode.BOOT and plan.default in ours:
            return None  # staged: it still runs the system before
        detail = f"it runs {plan.current.path}, but {recorded.path} was deployed"
    elif plan.default is not None and plan.default not in ours:
        detail = f"it runs {plan.current.path}, but would boot {plan.default.path}"
    else:
        return None
    return f"drifted: {detail}; repair: pulumi up --replace '{urn}'"
