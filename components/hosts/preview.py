"""The lines of a preview about one host."""

from typing import Final

import pulumi

from ..pipeline.config.activation import Mode
from ..pipeline.deploy.plan import Action, HostPlan, drift, interrupted_commit
from ..pipeline.evaluate.change_set import change_set
from ..pipeline.values import StorePath
from ..stack.release_record import ReleaseRecord

ROOT_RECREATED: Final = "its root disk is recreated first; everything on it is lost"


async def lines(
    plan: HostPlan,
    record: ReleaseRecord,
    *,
    old: StorePath | None,
    urn: str,
    root: pulumi.Input[str] | None,
) -> list[str]:
    """What the release changes on the host, and what the host runs now.

    `old` is the last deployed system in the state, `urn` that of `switch`, and `root` identifies
    an instance's root disk.
    """
    new = plan.system.out_path
    found = [
        f"{plan.host.name}: {old.path} → {new.path}" if old else f"{plan.host.name}: {new.path}"
    ]
    if old:
        found += await _change_lines(plan, record, old)
    if plan.host.activation.mode is Mode.BOOT:
        found.append(
            "mode boot: it becomes the boot default untested, and runs after the next boot"
        )
    if await _is_root_recreated(plan, root):
        return [*found, ROOT_RECREATED]
    return [*found, *_state_lines(plan, old, urn)]


def stack() -> str:
    """The stack as the records on hosts name it."""
    return f"{pulumi.get_organization()}/{pulumi.get_project()}/{pulumi.get_stack()}"


async def _change_lines(plan: HostPlan, record: ReleaseRecord, old: StorePath) -> list[str]:
    previous = await record.previous(plan.host, old)
    if previous is None:
        return ["changes unknown: the old system's sources are not available here"]
    return change_set(previous, plan.system).lines(plan.host.activation.mode)


async def _is_root_recreated(plan: HostPlan, root: pulumi.Input[str] | None) -> bool:
    """Whether an existing machine loses its root disk before it is deployed to."""
    if root is None or plan.current is None:
        return False
    return not await pulumi.Output.from_input(root).is_known()


def _state_lines(plan: HostPlan, old: StorePath | None, urn: str) -> list[str]:
    if line := interrupted_commit(plan, old, stack()) or drift(plan, old, urn):
        return [line]
    match plan.action:
        case Action.UNREACHABLE:
            return [str(plan.error)]
        case Action.BUSY:
            return ["another deployment is in progress on it"]
        case Action.UNCHANGED:
            return ["it already runs the new system"]
        case Action.STAGED:
            return ["the new system is already its boot default, and runs after the next boot"]
        case _:
            return []
