"""What a release changes, from derivations."""

import pytest

from components.pipeline.config.activation import Mode
from components.pipeline.evaluate import derivation
from components.pipeline.evaluate.attribute import EvaluatedAttr
from components.pipeline.evaluate.change_set import ChangeSet, change_set
from components.pipeline.evaluate.packages import VersionChange
from components.pipeline.evaluate.unit_change import Effect
from tests.unit.evaluate.derivations import NEW, OLD, REBOOT, Graph, read_all


@pytest.fixture(autouse=True)
def _store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(derivation, "_cache", read_all())


def test_a_release() -> None:
    assert change_set(OLD, NEW) == ChangeSet(
        packages=(
            VersionChange(name="app", old=("1",), new=("2",)),
            VersionChange(name="htop", old=("3.3.0",), new=()),
            VersionChange(name="openssl", old=("3.0.13",), new=("3.0.14",)),
            VersionChange(name="wget", old=(), new=("1.21",)),
        ),
        rebuilt=1,
        units={
            Effect.STOP: ("gone.timer",),
            Effect.RESTART: ("app@.service", "worker.service"),
            Effect.RELOAD: ("nginx.service",),
            Effect.LEAVE: ("dbus.service",),
            Effect.START: ("fresh.service",),
        },
        user_units=(),
        reboot=(),
    )


def test_preview_lines() -> None:
    assert change_set(OLD, NEW).lines() == [
        "packages: app: 1 → 2, htop: removed 3.3.0, openssl: 3.0.13 → 3.0.14, wget: added 1.21",
        "stops if active: gone.timer",
        "restarts if active: app@.service, worker.service",
        "reloads if active: nginx.service",
        "changed, not restarted: dbus.service",
        "starts: fresh.service",
        "rebuilt, same version: 1",
        "reboot: no",
    ]


def test_reasons_for_a_reboot() -> None:
    found = change_set(OLD, REBOOT)
    assert found.reboot == ("kernel", "initrd", "kernel modules", "kernel parameters")
    assert found.lines()[-1] == "reboot: needed (kernel, initrd, kernel modules, kernel parameters)"
    assert VersionChange(name="linux", old=("6.12.58",), new=("6.12.60",)) in found.packages


def test_preview_lines_in_mode_boot() -> None:
    """No unit is touched before the boot, after which all of the system runs."""
    assert change_set(OLD, NEW).lines(Mode.BOOT)[1:] == [
        (
            "units changed: app@.service, dbus.service, fresh.service, gone.timer, nginx.service,"
            " worker.service"
        ),
        "rebuilt, same version: 1",
    ]
    assert change_set(OLD, REBOOT).lines(Mode.BOOT)[-1] == (
        "boots with another kernel, initrd, kernel modules, kernel parameters"
    )
    assert change_set(OLD, OLD).lines(Mode.BOOT) == []


def test_nothing_changes() -> None:
    assert change_set(OLD, OLD).lines() == ["reboot: no"]


def test_a_rollback_is_the_same_in_reverse() -> None:
    there, back = change_set(OLD, NEW), change_set(NEW, OLD)
    assert [(one.name, one.new, one.old) for one in back.packages] == [
        (one.name, one.old, one.new) for one in there.packages
    ]
    assert back.units[Effect.STOP] == there.units[Effect.START]


def test_units_of_users_and_of_the_initrd(monkeypatch: pytest.MonkeyPatch) -> None:
    """They have derivations of the same names; the switch restarts none of the system's."""
    graph = Graph()

    def system(version: str) -> EvaluatedAttr:
        unit = graph.unit("agent.service", f"[Service]\nExecStart=/agent {version}\n")
        changed = graph.unit("described.service", f"[Unit]\nDescription={version}\n[Service]\n")
        initrd = graph.unit("cryptsetup.service", f"[Service]\nExecStart=/open {version}\n")
        trees = {"user-units": (unit, changed), "initrd-units": (initrd,), "system-units": ()}
        return graph.system(*(graph.add(tree, units) for tree, units in trees.items()))

    old, new = system("1"), system("2")
    monkeypatch.setattr(derivation, "_cache", graph.derivations)
    assert change_set(old, new).lines() == ["user units changed: agent.service", "reboot: no"]
