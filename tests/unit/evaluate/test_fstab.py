"""What a switch does about file systems, by two texts of fstab."""

import pytest

from components.pipeline.evaluate import derivation
from components.pipeline.evaluate.change_set import change_set
from components.pipeline.evaluate.fstab import escape_path, mount_effects
from components.pipeline.evaluate.unit_change import Effect
from tests.unit.evaluate.derivations import Graph


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("/dev/a /data ext4 defaults 0 2", "/dev/a /data ext4 defaults 0 0", {}),
        ("/dev/a /data ext4 ro", "/dev/a /data ext4 rw", {"data.mount": Effect.RELOAD}),
        ("/dev/a /data ext4 ro", "/dev/b /data ext4 ro", {"data.mount": Effect.RESTART}),
        ("/dev/a /data ext4 ro", "/dev/a /data xfs rw", {"data.mount": Effect.RESTART}),
        ("/dev/a / ext4 ro", "/dev/b / ext4 ro", {"-.mount": Effect.LEAVE}),
        ("/dev/a / ext4 ro", "/dev/b / ext4 rw", {"-.mount": Effect.RELOAD}),
        ("/dev/a /nix ext4 ro", "/dev/a /nix xfs ro", {"nix.mount": Effect.LEAVE}),
        ("/dev/a /data ext4 ro", "", {"data.mount": Effect.STOP}),
        ("", "/dev/a /mnt/a-b ext4 ro", {"mnt-a\\x2db.mount": Effect.START}),
        ("", "/dev/a /data ext4 noauto,ro", {}),
        ("", "/dev/a /data ext4 x-systemd.automount", {"data.automount": Effect.START}),
        ("/dev/a /data ext4 x-systemd.automount", "", {"data.automount": Effect.STOP}),
        ("/dev/a none swap defaults", "", {"dev-a.swap": Effect.STOP}),
        ("/dev/a none swap pri=1", "/dev/a none swap pri=2", {}),
        ("/dev/a none swap pri=1", "/dev/b none swap pri=1",
         {"dev-a.swap": Effect.STOP, "dev-b.swap": Effect.START}),
        ("# a comment\n\n/dev/a /data", "", {}),
    ],
)  # fmt: skip
def test_file_systems(old: str, new: str, expected: dict[str, Effect]) -> None:
    assert mount_effects(old, new) == expected


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/", "-"), ("/mnt/data", "mnt-data"), ("//mnt//data/", "mnt-data"),
        ("/.hidden", "\\x2ehidden"), ("/a b", "a\\x20b"), ("/é", "\\xc3\\xa9"),
        ("/dev/disk/by-label/x", "dev-disk-by\\x2dlabel-x"),
    ],
)  # fmt: skip
def test_names_of_units(path: str, name: str) -> None:
    assert escape_path(path) == name


def test_the_fstab_of_a_system(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = Graph()
    old, new = (
        graph.system(
            graph.add("etc-fstab", variables={"text": f"/dev/a /data ext4 {options}\n"}),
            graph.tree([graph.unit("a.service", f"[Service]\nExecStart=/{options}\n")]),
        )
        for options in ("ro", "rw")
    )
    monkeypatch.setattr(derivation, "_cache", graph.derivations)
    assert change_set(old, new).lines() == [
        "restarts if active: a.service",
        "reloads if active: data.mount",
        "reboot: no",
    ]


def test_a_system_whose_fstab_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = Graph()
    fstab = graph.add("etc-fstab", variables={"text": "/dev/a /data ext4 ro\n"})
    known, unknown = graph.system(fstab), graph.system(graph.add("own-fstab"))
    monkeypatch.setattr(derivation, "_cache", graph.derivations)
    assert change_set(known, unknown).lines() == ["reboot: no"]
