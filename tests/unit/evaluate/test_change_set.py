"""What a release changes, from derivations."""

import pytest

from components.pipeline.evaluate import derivation
from components.pipeline.evaluate.change_set import ChangeSet, change_set
from components.pipeline.evaluate.packages import VersionChange
from tests.unit.evaluate.derivations import NEW, OLD, REBOOT, read_all


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
            "stop": ("gone.timer",),
            "restart": ("app@.service", "worker.service"),
            "reload": ("nginx.service",),
            "leave": ("dbus.service",),
            "start": ("fresh.service",),
        },
        reboot=(),
    )


def test_preview_lines() -> None:
    assert change_set(OLD, NEW).lines() == [
        "packages: app: 1 → 2, htop: removed 3.3.0, openssl: 3.0.13 → 3.0.14, wget: added 1.21",
        "stops: gone.timer",
        "restarts: app@.service, worker.service",
        "reloads: nginx.service",
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


def test_nothing_changes() -> None:
    assert change_set(OLD, OLD).lines() == ["reboot: no"]


def test_a_rollback_is_the_same_in_reverse() -> None:
    there, back = change_set(OLD, NEW), change_set(NEW, OLD)
    assert [(one.name, one.new, one.old) for one in back.packages] == [
        (one.name, one.old, one.new) for one in there.packages
    ]
    assert (back.units["stop"], back.units["start"]) == (
        there.units["start"],
        there.units["stop"],
    )
