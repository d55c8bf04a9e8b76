"""A fleet of three: the order of switches, untouched hosts, and Ctrl-C."""

import os
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import pytest

from harness.command_result import Json
from harness.hosts import ContainerHost
from tests.e2e.host_state import (
    Hosts,
    answers,
    attempt_state,
    attempts,
    logins,
    profiles,
    serving,
    started,
    system,
    systems,
)
from tests.e2e.stack import FAST_ACTIVATION, Backend, Engine, Workspace, wait_for

pytestmark = pytest.mark.e2e

ALL = {"unchanged": 13}
"""Stack, its provider, release, fleet, build, and for each of three hosts: itself, copy, switch."""
DEFAULT = None
"""No `rollout` in the config: one canary, then the rest."""
IMPATIENT = {**FAST_ACTIVATION, "confirm": "8s"}
OLD_WITHIN = 70
"""Seconds for the activation of these tests, its checks, 8 s to confirm, and the rollback."""
ENDED = {"committed", "rolled-back"}


@pytest.fixture
def trio(hosts: Hosts, third: ContainerHost) -> Hosts:
    return {**hosts, "web3": third}


@pytest.fixture(scope="module")
def fleet_of_three(
    place: Path, hosts: Hosts, third: ContainerHost, keys: Path, app_url: str
) -> Iterator[Workspace]:
    """An own stack with three hosts, which ends with them on v1."""
    made = Workspace.create(place / "three", Backend(state=place / "state-of-three"), app_url)
    made.init({**hosts, "web3": third}, (keys / "client").read_text())
    yield made
    made.reset()


@pytest.fixture
def three(fleet_of_three: Workspace) -> Workspace:
    """The stack of three, with all hosts on v1."""
    fleet_of_three.reset()
    return fleet_of_three


def test_a_failed_canary_stops_the_rollout(three: Workspace, trio: Hosts) -> None:
    old, units = systems(trio), started(trio)
    tried = {name: ids(host) for name, host in trio.items()}
    came = {name: logins(host) for name, host in trio.items()}
    others = ("web2", "web3")
    three.fleet(web1={"faults": {"unit-fails": "1"}})
    three.write(appRef="v2", rollout=DEFAULT)

    for words in ((), ("--continue-on-error",)):
        result = three.up(*words)
        assert result.code != 0
        assert "Traceback" not in result.text
        (error,) = result.errors()
        assert error.startswith(
            'before hook "web1-switch" failed: not deployed: web1: unit broken.service failed:'
            " rolled back to the previous system"
        )
        assert "the rollout stopped: failed: web1; untouched: web2, web3" in result.diagnostics()
        assert systems(trio) == profiles(trio) == old
        assert three.recorded() == old
        assert {name: ids(trio[name]) for name in others} == {name: tried[name] for name in others}
        now = started(trio)
        assert {name: now[name] for name in others} == {name: units[name] for name in others}
        # One login for the copy, which the state has as done when `up` is repeated.
        assert all(logins(trio[name]) == came[name] + 1 for name in others)

    again = three.preview("--json").systems()
    assert again.keys() == trio.keys()
    assert not set(again.values()) & set(old.values())

    three.fleet()
    mended = three.up()
    assert mended.code == 0, mended.text
    assert answers(trio) == serving("v2", *trio)
    assert three.recorded() == systems(trio) == profiles(trio)
    units = started(trio)
    assert three.up().summary() == ALL
    assert started(trio) == units


def test_one_at_a_time(three: Workspace, trio: Hosts) -> None:
    slow = {"activationSeconds": 2}
    three.fleet(**{name: {**slow, "extraText": "one at a time"} for name in trio})
    three.write(appRef="v1", rollout={"canary": 0, "maxParallel": 1})
    result = three.up()
    assert result.code == 0, result.text
    spans = sorted(span(host) for host in trio.values())
    assert all(end - begin >= 2 for begin, end in spans)
    assert all(before[1] <= after[0] for before, after in pairwise(spans)), spans

    three.fleet(**{name: {**slow, "extraText": "side by side"} for name in trio})
    three.write(appRef="v1", rollout={"canary": 0})
    assert three.up().code == 0
    spans = sorted(span(host) for host in trio.values())
    assert spans[-1][0] < min(end for _, end in spans), "the clock sees two at the same time"


@pytest.mark.parametrize("words", [(), ("--continue-on-error",)], ids=["", "go on"])
def test_hosts_waiting_for_a_slot_are_left_untouched(
    three: Workspace, trio: Hosts, words: tuple[str, ...]
) -> None:
    """The first host fails; the two others are in the same wave, and do not start."""
    old, tried = systems(trio), {name: ids(host) for name, host in trio.items()}
    three.fleet(**{name: {"faults": {"activate-fails": "1"}} for name in trio})
    three.write(appRef="v2", rollout={"canary": 0, "maxParallel": 1})
    result = three.up(*words)
    assert result.code != 0
    (broken,) = (name for name, host in trio.items() if ids(host) != tried[name])
    waiting = sorted(trio.keys() - {broken})
    assert systems(trio) == profiles(trio) == three.recorded() == old
    stopped = re.search(r"the rollout stopped: (.+)$", result.diagnostics(), re.MULTILINE)
    assert stopped, result.text
    parts = {f"failed: {broken}", f"untouched: {', '.join(waiting)}"}
    assert set(stopped[1].split("; ")) == parts
    for name in waiting:
        assert (
            f'before hook "{name}-switch" failed: left untouched: {name}: {broken} failed.'
            in result.text
        )


def test_a_disabled_host(three: Workspace, trio: Hosts) -> None:
    host = trio["web3"]
    old, units, came, kept = system(host), host.started(), logins(host), resources(three, "web3")
    three.write(appRef="v2", hosts=three.hosts(web3={"enabled": False}))
    preview = three.preview()
    assert preview.code == 0, preview.text
    assert "web3: skipped (enabled: false)" in preview.diagnostics()
    result = three.up()
    assert result.code == 0, result.text
    assert answers(trio) == serving("v2", "web1", "web2") | serving("v1", "web3")
    assert (system(host), host.started(), logins(host)) == (old, units, came)
    assert kept.keys() == {"copy", "switch"}
    assert resources(three, "web3") == kept
    assert three.preview("--expect-no-changes").code == 0

    three.write(appRef="v2")
    back = three.preview()
    assert f"web3: {old} → " in back.diagnostics()
    assert "packages: app: 1 → 2" in back.diagnostics()
    result = three.up()
    assert result.code == 0, result.text
    assert host.http() == "app v2 on web3"
    assert result.summary()["unchanged"] == 10


def test_a_host_that_was_never_deployed_cannot_be_disabled(three: Workspace) -> None:
    new = {**three.config["hosts"]["web3"], "address": "192.0.2.4", "enabled": False}
    three.write(appRef="v1", hosts={**three.hosts(), "web4": new})
    result = three.preview()
    assert result.code != 0
    errors = [error for error in result.errors() if "web4" in error]
    wanted = (
        "cannot skip: web4: it is disabled and was never deployed: there is nothing to"
        " keep. remove it from hosts, or enable it"
    )
    assert errors, result.text
    assert all(error.endswith(wanted) for error in errors), errors


# --- Ctrl-C --------------------------------------------------------------------------------


def test_the_first_ctrl_c_lets_hosts_in_progress_finish(three: Workspace, trio: Hosts) -> None:
    old = systems(trio)
    tried = {name: ids(host) for name, host in trio.items()}
    with activating(three, trio, "first") as engine:
        ctrl_c(engine)
        result = engine.wait()
    assert result.code != 0
    assert attempt_state(trio["web1"]) in ENDED, "it ends before the engine does"
    now = systems(trio)
    assert now == profiles(trio) == three.recorded()
    assert {**now, "web1": old["web1"]} == old
    assert [ids(trio[name]) for name in ("web2", "web3")] == [tried["web2"], tried["web3"]]
    assert_converges(three, trio)


def test_after_the_second_ctrl_c_the_timer_decides(three: Workspace, trio: Hosts) -> None:
    old = systems(trio)
    with activating(three, trio, "second", activation=IMPATIENT) as engine:
        ctrl_c(engine)
        engine.read_until("terminate immediately|[Ii]nterrupt")
        ctrl_c(engine)
        result = engine.wait()
        wait_for(lambda: attempt_state(trio["web1"]) in ENDED, OLD_WITHIN)
    assert result.code != 0
    assert attempts(trio["web1"])[-1]["reason"] == "not confirmed in time"
    assert systems(trio) == profiles(trio) == three.recorded() == old
    three.write(appRef="v2")
    assert_converges(three, trio)


@contextmanager
def activating(workspace: Workspace, hosts: Hosts, text: str, **config: Json) -> Iterator[Engine]:
    """An `up` whose canary, web1, is in the middle of its activation."""
    workspace.fleet(web1={"activationSeconds": 8, "extraText": text})
    workspace.write(appRef="v2", rollout=DEFAULT, **config)
    with workspace.running("up", "--yes", "--skip-preview") as engine:
        wait_for(lambda: attempt_state(hosts["web1"]) == "activating", 100)
        yield engine


def ctrl_c(engine: Engine) -> None:
    """As a terminal does it: a signal to the whole process group."""
    os.killpg(engine.process.pid, signal.SIGINT)


def assert_converges(workspace: Workspace, hosts: Hosts) -> None:
    """`up` deploys the release to all hosts, after `pulumi cancel` if Pulumi asks for it."""
    result = workspace.up()
    if "pulumi cancel" in result.text:
        assert workspace.pulumi("cancel", "--yes").code == 0
        result = workspace.up()
    assert result.code == 0, result.text
    assert answers(hosts) == serving("v2", *hosts)
    assert workspace.recorded() == systems(hosts) == profiles(hosts)
    assert workspace.up().summary() == ALL


# --- looking -------------------------------------------------------------------------------


def ids(host: ContainerHost) -> list[str]:
    return [attempt["id"] for attempt in attempts(host)]


def span(host: ContainerHost) -> tuple[float, float]:
    """When a host's newest attempt started and ended; containers share the machine's clock."""
    folder = "/nix/var/flakeup/current"
    result = host.query(
        "stat", "--dereference", "--format=%.6Y", f"{folder}/spec", f"{folder}/state"
    )
    begin, end = map(float, result.split())
    return begin, end


def resources(workspace: Workspace, host: str) -> dict[str, tuple[Json, Json]]:
    """The inputs and outputs of a host's commands in the state; the order has no meaning."""
    return {
        name[1]: (found["inputs"], found["outputs"])
        for found in workspace.state("--show-secrets")["resources"]
        if (name := re.search(rf"Command::{host}-(copy|switch)$", found["urn"]))
    }
