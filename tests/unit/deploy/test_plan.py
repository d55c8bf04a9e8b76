"""One action per host, from desired and observed state."""

from dataclasses import replace

import pytest

from components.pipeline.activation.protocol import Observation
from components.pipeline.config.activation import Activation, Mode
from components.pipeline.deploy.plan import Action, HostPlan, drift, interrupted_commit, plan_hosts
from components.pipeline.errors import HostError, ReplyError, UnreachableError
from components.pipeline.evaluate.attribute import EvaluatedAttr
from components.pipeline.values import StorePath
from tests.unit.hosts import derivation, host, toplevel

OLD, NEW, OTHER = toplevel("a"), toplevel("b"), toplevel("c")
SYSTEM = EvaluatedAttr(attr="web1", drv_path=derivation("d"), out_path=NEW)
IDLE = Observation(
    current=OLD,
    profile=OLD,
    boot_id="b-1",
    arch="x86_64",
    failed=(),
    free_nix=1 << 30,
    attempt="",
    attempt_new=None,
    switching=False,
)


def plan(seen: Observation | HostError | None, mode: Mode = Mode.SWITCH) -> HostPlan:
    observed = {} if seen is None else {"web1": seen}
    wanted = host(activation=Activation(mode=mode))
    (one,) = plan_hosts((wanted,), {"web1": SYSTEM}, observed)
    assert (one.host, one.system) == (wanted, SYSTEM)
    return one


@pytest.mark.parametrize(
    ("seen", "action"),
    [
        pytest.param(None, Action.UNKNOWN, id="not asked"),
        pytest.param(UnreachableError("away"), Action.UNREACHABLE, id="away"),
        pytest.param(ReplyError("odd"), Action.UNREACHABLE, id="not understood"),
        pytest.param(IDLE, Action.DEPLOY, id="runs OLD"),
        pytest.param(replace(IDLE, current=NEW, profile=NEW), Action.UNCHANGED, id="runs NEW"),
        pytest.param(replace(IDLE, current=NEW), Action.DEPLOY, id="NEW is not the boot default"),
        pytest.param(replace(IDLE, profile=NEW), Action.DEPLOY, id="NEW is not active"),
        pytest.param(
            replace(IDLE, current=NEW, attempt="1", attempt_new=NEW), Action.BUSY, id="attempt"
        ),
        pytest.param(replace(IDLE, switching=True), Action.BUSY, id="another switch"),
        pytest.param(replace(IDLE, current=None, profile=None), Action.DEPLOY, id="no system yet"),
    ],
)
def test_action(seen: Observation | HostError | None, action: Action) -> None:
    assert plan(seen).action is action


@pytest.mark.parametrize(
    ("seen", "action"),
    [
        pytest.param(None, Action.UNKNOWN, id="not asked"),
        pytest.param(UnreachableError("away"), Action.UNREACHABLE, id="away"),
        pytest.param(IDLE, Action.DEPLOY, id="runs OLD"),
        pytest.param(replace(IDLE, profile=NEW), Action.STAGED, id="NEW is the boot default"),
        pytest.param(
            replace(IDLE, current=None, profile=NEW), Action.STAGED, id="no system yet, but NEW"
        ),
        pytest.param(replace(IDLE, current=NEW, profile=NEW), Action.UNCHANGED, id="runs NEW"),
        pytest.param(replace(IDLE, current=NEW), Action.DEPLOY, id="NEW is not the boot default"),
        pytest.param(replace(IDLE, switching=True), Action.BUSY, id="another switch"),
    ],
)
def test_action_in_mode_boot(seen: Observation | HostError | None, action: Action) -> None:
    assert plan(seen, Mode.BOOT).action is action


def test_plan_keeps_the_observation() -> None:
    assert plan(IDLE).current == OLD
    assert plan(None).current is None
    trouble = UnreachableError("away")
    assert (plan(trouble).error, plan(trouble).current) == (trouble, None)


def test_hosts_keep_their_order() -> None:
    hosts = (host("web2"), host("db1"), host("web1"))
    systems = {one.name: SYSTEM for one in hosts}
    assert [one.host.name for one in plan_hosts(hosts, systems, {})] == ["web2", "db1", "web1"]


def test_drift_names_both_paths_and_the_remedy() -> None:
    assert drift(plan(replace(IDLE, current=OTHER)), OLD, "urn:x") == (
        f"drifted: it runs {OTHER.path}, but {OLD.path} was deployed; "
        "repair: pulumi up --replace 'urn:x'"
    )


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("current", [OLD, NEW])
def test_another_boot_default_is_drift(current: StorePath, mode: Mode) -> None:
    seen = replace(IDLE, current=current, profile=OTHER)
    assert drift(plan(seen, mode), OLD, "urn:x") == (
        f"drifted: it runs {current.path}, but would boot {OTHER.path}; "
        "repair: pulumi up --replace 'urn:x'"
    )


def test_no_drift_without_a_profile() -> None:
    assert drift(plan(replace(IDLE, profile=None)), OLD, "urn:x") is None


@pytest.mark.parametrize(
    "seen", [None, UnreachableError("away"), IDLE, replace(IDLE, current=NEW)],
    ids=["not asked", "away", "OLD", "NEW"],
)  # fmt: skip
def test_no_drift(seen: Observation | HostError | None) -> None:
    assert drift(plan(seen), OLD, "urn:x") is None


@pytest.mark.parametrize("current", [OLD, OTHER])
def test_no_drift_if_the_recorded_system_boots_next(current: StorePath) -> None:
    """After `mode: boot` the state says NEW, and the host still runs the system before."""
    seen = replace(IDLE, current=current, profile=NEW)
    assert drift(plan(seen, Mode.BOOT), NEW, "urn:x") is None
    assert drift(plan(seen, Mode.SWITCH), NEW, "urn:x") is not None


def test_a_staged_release_is_not_drift_for_the_next_one() -> None:
    """v2 is the boot default and v1 runs: for v3 nothing was changed by hand."""
    seen = replace(IDLE, current=OLD, profile=OTHER)
    assert drift(plan(seen, Mode.BOOT), OTHER, "urn:x") is None
    assert drift(plan(seen, Mode.SWITCH), OTHER, "urn:x") is not None


STACK = "acme/flakeup/prod"
AHEAD = replace(IDLE, current=OTHER, profile=OTHER, committed_from=OLD, committed_by=STACK)


def test_a_host_ahead_of_the_state_has_not_drifted() -> None:
    assert interrupted_commit(plan(AHEAD), OLD, STACK) == (
        f"it runs {OTHER.path}: the `up` that deployed it was interrupted"
    )


@pytest.mark.parametrize(
    ("seen", "recorded"),
    [
        pytest.param(replace(AHEAD, committed_by="acme/flakeup/staging"), OLD, id="another stack"),
        pytest.param(replace(AHEAD, committed_from=NEW), OLD, id="from another system"),
        pytest.param(replace(AHEAD, committed_from=None), OLD, id="something else runs"),
        pytest.param(replace(AHEAD, current=NEW), OLD, id="it runs NEW"),
        pytest.param(AHEAD, OTHER, id="the state knows it"),
        pytest.param(AHEAD, None, id="nothing is recorded"),
        pytest.param(None, OLD, id="not asked"),
    ],
)
def test_hosts_that_are_not_ahead_of_the_state(
    seen: Observation | None, recorded: StorePath | None
) -> None:
    assert interrupted_commit(plan(seen), recorded, STACK) is None


def test_no_drift_without_a_recorded_system() -> None:
    assert drift(plan(replace(IDLE, current=OTHER)), None, "urn:x") is None
