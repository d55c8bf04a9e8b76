"""What the preview says about units: what switch programs do (tests/switch_cases.py)."""

from collections.abc import Mapping

import pytest

from components.pipeline.evaluate import derivation
from components.pipeline.evaluate.derivation import nearest
from components.pipeline.evaluate.system_units import SystemUnits, template_of
from components.pipeline.evaluate.unit_change import Effect, Switch
from tests.switch_cases import CASES, OTHER, RUN, Case, service, units
from tests.unit.evaluate.derivations import Graph

TOLD = {
    "stopping, starting": Effect.RESTART,
    "restarting": Effect.RESTART,
    "reloading": Effect.RELOAD,
    "NOT restarting": Effect.LEAVE,
    "stopping": Effect.STOP,
    "": None,
}
"""The words of a switch program, and the preview's for the same."""
BY_TARGET = {"service": "multi-user", "socket": "sockets", "timer": "timers"}


def links(names: Mapping[str, str]) -> list[tuple[str, str]]:
    """The `.wants` of the demo's flake (demo/flake/lib/units.nix)."""
    found = []
    for name in names:
        base, _, kind = name.rpartition(".")
        starts_itself = f"{base}.timer" in names or f"{base}.socket" in names
        if "/" in name or base.endswith("@") or (kind == "service" and starts_itself):
            continue
        if kind in BY_TARGET:
            found.append((name, f"{BY_TARGET[kind]}.target"))
    return found


def switch(
    old: Mapping[str, str], new: Mapping[str, str], *more: tuple[str, str]
) -> dict[str, Effect]:
    """What is said of each unit; `more`: further links of the new system."""
    graph = Graph()
    before, after = graph.system_of(old, links(old)), graph.system_of(new, [*links(new), *more])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(derivation, "_cache", graph.derivations)
        trees = [
            SystemUnits.of(nearest(one.drv_path, lambda drv: drv.name == "system-units"))
            for one in (before, after)
        ]
        return Switch.of(*trees).effects()


def unwanted(old: str, new: str, name: str = "x.service") -> str | None:
    """What is said of a unit that no target wants."""
    timer = {f"{name.removesuffix('.service')}.timer": "[Timer]\nOnCalendar=daily\n"}
    return switch({name: old} | timer, {name: new} | timer).get(name)


@pytest.fixture(scope="module")
def said() -> dict[str, Effect]:
    return switch(units("old"), units("new"))


@pytest.mark.parametrize(
    "case", [case for case in CASES if "/" not in case.name], ids=lambda case: case.name
)
def test_the_preview_says_what_the_program_does(said: dict[str, Effect], case: Case) -> None:
    unit = template_of(case.name) or case.name
    expected = case.preview or TOLD[case.told] or ("" if unit == case.name else None)
    if unit == case.name and unit.partition("@")[2].startswith("."):
        return  # no unit that runs: its instance is a case of its own
    assert said.get(unit, "") == expected


def test_nothing_else_is_said(said: dict[str, Effect]) -> None:
    assert said.keys() <= {case.name for case in CASES}


@pytest.mark.parametrize(
    ("more", "unit", "expected"),
    [
        ("Type=oneshot\n", "", Effect.NEXT_RUN),
        ("Type=oneshot\nX-RestartIfChanged=false\n", "", Effect.NEXT_RUN),
        ("Type=oneshot\nRemainAfterExit=yes\n", "", Effect.RESTART),
        ("Type=oneshot\nRemainAfterExit=no\n", "", Effect.NEXT_RUN),
        ("Type=oneshot\nX-ReloadIfChanged=true\n", "", Effect.NEXT_RUN),
        ("Type=exec\n", "", Effect.RESTART),
        ("X-RestartIfChanged=true\nX-RestartIfChanged=false\n", "", Effect.LEAVE),
        ("X-RestartIfChanged=false\nX-RestartIfChanged=\n", "", Effect.RESTART),
        ("X-ReloadIfChanged=true\nX-RestartIfChanged=false\n", "", Effect.RELOAD),
        ("X-StopIfChanged=false\n", "RefuseManualStop=yes\n", Effect.LEAVE),
        ("", "X-OnlyManualStart=on\n", Effect.LEAVE),
        ("", "X-OnlyManualStart=False\n", Effect.RESTART),
    ],
)
def test_what_a_service_asks_for(more: str, unit: str, expected: Effect) -> None:
    assert unwanted(service(more, unit), service(more + OTHER, unit)) is expected


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("", "[Unit]\nDescription=two\n", None),
        ("", "[Unit]\nX-Reload-Triggers=a\n", Effect.RELOAD),
        ("", "[Unit]\nAfter=a\n", Effect.RESTART),
        ("[Unit]\nX-Reload-Triggers=a\n", "", None),
        ("[Unit]\nBefore=a\n", "", Effect.RESTART),
        ("[Unit]\nAfter=a\nAfter=b\n", "[Unit]\nAfter=b\nAfter=a\n", Effect.RESTART),
        ("", "[X-Own]\nA=b\n", Effect.RESTART),
        ("[X-Own]\nA=b\n", "", Effect.RESTART),
        ("[Unit]\nStopWhenUnneeded=true\nSourcePath=/a\n", "[Unit]\nRefuseManualStart=no\n", None),
        ("[Unit]\nStartLimitBurst=1\n", "[Unit]\nStartLimitBurst=2\n", Effect.RESTART),
    ],
)
def test_which_differences_count(old: str, new: str, expected: Effect | None) -> None:
    run = f"[Service]\n{RUN}"
    assert unwanted(old + run, new + run) is expected


@pytest.mark.parametrize(
    ("unit", "old", "new", "expected"),
    [
        ("-.mount", "[Mount]\nWhat=a\nWhere=/\n", "[Mount]\nWhat=b\nWhere=/\n", Effect.RELOAD),
        ("nix.mount", "[Mount]\nWhat=a\nWhere=/nix\n", "[Mount]\nWhat=b\nWhere=/nix\n",
         Effect.RELOAD),
        ("a.automount", "[Automount]\nWhere=/a\n", "[Automount]\nWhere=/a\nTimeoutIdleSec=1\n",
         Effect.RESTART),
        ("a.swap", "[Swap]\nWhat=/a\n", "[Swap]\nWhat=/b\n", Effect.RESTART),
        ("a.timer", "[Timer]\nOnCalendar=daily\n", "[Timer]\nOnCalendar=weekly\n", Effect.RESTART),
        ("a.timer", "[Timer]\nOnCalendar=daily\n",
         "[Unit]\nDescription=a\n[Timer]\nOnCalendar=daily\n", None),
        ("multi-user.target", "[Unit]\nAfter=a\n", "[Unit]\nAfter=b\n", None),
        ("a.slice", "[Slice]\nMemoryMax=1G\n", "[Slice]\nMemoryMax=2G\n", None),
        ("a.socket", "[Unit]\nDescription=a\n[Socket]\nListenStream=1\n",
         "[Unit]\nDescription=b\n[Socket]\nListenStream=1\n", None),
        ("a.socket", "[Socket]\nListenStream=1\n", "[Socket]\nListenStream=1\nBacklog=9\n",
         Effect.NEXT_OPEN),
        ("mnt-a\\x2db.mount", "[Mount]\nWhat=a\nWhere=/mnt/a-b\n",
         "[Mount]\nWhat=b\nWhere=/mnt/a-b\n", Effect.RESTART),
    ],
)  # fmt: skip
def test_units_of_other_types(unit: str, old: str, new: str, expected: Effect | None) -> None:
    assert switch({unit: old}, {unit: new}).get(unit) is expected


SOCKET = "[Socket]\nListenStream=1\n"
OTHER_SOCKET = "[Socket]\nListenStream=2\n"


def test_a_service_that_a_target_wants_comes_back_without_its_socket() -> None:
    """Its socket is stopped and started with it, and so takes its new port."""
    old = {"web.service": service(), "web.socket": SOCKET}
    new = {"web.service": service(OTHER), "web.socket": OTHER_SOCKET}
    assert switch(old, new, ("web.service", "multi-user.target")) == {
        "web.service": Effect.RESTART,
        "web.socket": Effect.RESTART,
    }


def test_sockets_by_name() -> None:
    """`Sockets=` names those of a service; one by its own name is another's then."""
    named = "Sockets=a.socket  b.socket\n"
    sockets = {"a.socket": SOCKET, "b.socket": SOCKET, "web.socket": SOCKET}
    old = {"web.service": service(named)} | sockets
    new = {"web.service": service(named + OTHER)} | sockets | {"web.socket": OTHER_SOCKET}
    assert switch(old, new) == {
        "web.service": Effect.SOCKET,
        "a.socket": Effect.RESTART,
        "b.socket": Effect.RESTART,
        "web.socket": Effect.NEXT_OPEN,
    }


def test_a_socket_that_comes_starts_its_service() -> None:
    old = {"web.service": service()}
    new = {"web.service": service(OTHER), "web.socket": SOCKET}
    assert switch(old, new) == {"web.service": Effect.SOCKET, "web.socket": Effect.START}


def test_a_socket_that_goes_leaves_the_service_to_the_switch() -> None:
    old = {"web.service": service(), "web.socket": SOCKET}
    new = {"web.service": service(OTHER)}
    assert switch(old, new) == {"web.service": Effect.RESTART, "web.socket": Effect.STOP}


def test_the_socket_of_a_template() -> None:
    old = {"web@.service": service(), "web.socket": SOCKET}
    new = {"web@.service": service(OTHER), "web.socket": SOCKET}
    assert switch(old, new) == {"web@.service": Effect.SOCKET, "web.socket": Effect.RESTART}


@pytest.mark.parametrize(
    ("name", "text", "by", "expected"),
    [
        ("new.service", service(), "multi-user.target", Effect.START),
        ("new.service", service(), "sleep.target", None),
        ("new.service", service(), "other.service", None),
        ("new.timer", "[Timer]\nOnCalendar=daily\n", "timers.target", Effect.START),
        ("new@.service", service(), "", None),
        ("new.service", "[Service]\nType=oneshot\nExecStart=/a\n", "multi-user.target",
         Effect.START),
        ("new.service", "[Service]\nExecStart=\nExecStart=/a\n", "", Effect.RESTART),
        ("new.service", "[Service]\nEnvironment=A=1\n", "", Effect.RESTART),
        ("new.service", "[Unit]\nDescription=a\n[Service]\n", "", None),
        ("new.service", "[Unit]\nX-Reload-Triggers=a\n[Service]\n", "", Effect.RELOAD),
    ],
)  # fmt: skip
def test_a_unit_that_comes(name: str, text: str, by: str, expected: Effect | None) -> None:
    """Started if a target of the boot wants it; a text that only adds changes a package's unit."""
    base = name.rpartition(".")[0]
    starter = {f"{base}.timer": "[Timer]\nOnCalendar=daily\n"} if not name.endswith("timer") else {}
    said = switch(starter, starter | {name: text}, *([(name, by)] if by else []))
    assert said.get(name) is expected


def test_what_a_new_unit_requires_is_started_too() -> None:
    new = {
        "web.service": service(unit="Requires=db.service cache.service\nAfter=not.service\n"),
        "db.service": service(), "db.timer": "[Timer]\nOnCalendar=daily\n",
        "not.service": service(), "not.timer": "[Timer]\nOnCalendar=daily\n",
    }  # fmt: skip
    timers = {name: text for name, text in new.items() if name.endswith("timer")}
    assert switch(timers, new) == {"db.service": Effect.START, "web.service": Effect.START}


def test_a_unit_that_a_target_wants_from_now_on_is_started() -> None:
    timer = {"job.timer": "[Timer]\nOnCalendar=daily\n", "job.service": service()}
    assert switch(timer, timer, ("job.service", "multi-user.target")) == {
        "job.service": Effect.START
    }


def test_instances_that_a_target_wants() -> None:
    assert switch(
        {}, {"tty@.service": service()}, ("tty@a.service", "getty.target"),
        ("other@a.service", "getty.target"),
    ) == {"tty@a.service": Effect.START}  # fmt: skip


def test_a_oneshot_that_a_target_wants_runs_again() -> None:
    old, new = (f"[Service]\nType=oneshot\nExecStart=/a {one}\n" for one in "12")
    assert switch({"job.service": old}, {"job.service": new}) == {"job.service": Effect.START}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (service(), Effect.STOP),
        (service(unit="X-StopOnRemoval=false\n"), None),
        (service("X-StopOnRemoval=false\n"), Effect.STOP),
        ("[Service]\nEnvironment=A=1\n", Effect.RESTART),
        ("[Unit]\nDescription=a\n", None),
    ],
)
def test_a_unit_that_goes(text: str, expected: Effect | None) -> None:
    """What only added to a package's unit changes that unit when it goes."""
    assert switch({"x.service": text}, {}).get("x.service") is expected


def test_drop_ins_of_instances() -> None:
    template = {"job@.service": service(OTHER)}
    old = template | {"job@a.service": "[Service]\nX-RestartIfChanged=false\nEnvironment=B=1\n"}
    new = template | {"job@a.service": "[Service]\nX-RestartIfChanged=false\nEnvironment=B=2\n"}
    assert switch(old, new) == {"job@a.service": Effect.LEAVE}
    changed = {"job@.service": service(OTHER + "Environment=C=3\n")}
    assert switch(old, old | changed) == {
        "job@.service": Effect.RESTART,
        "job@a.service": Effect.LEAVE,
    }


def test_the_order_of_drop_ins() -> None:
    parts = {"x.service.d/b.conf": "[Service]\nX-RestartIfChanged=false\n", "x.service": service()}
    old = parts | {"x.service.d/a.conf": "[Service]\nX-RestartIfChanged=true\n"}
    assert switch(old, old | {"x.service.d/a.conf": "[Service]\nX-RestartIfChanged=yes\n"}) == {
        "x.service": Effect.LEAVE
    }
