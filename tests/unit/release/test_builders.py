"""What is said where no machine can build a derivation: texts as nix prints them."""

import pytest

from components.pipeline.release.builders import explain_missing_builder

DRV = "/nix/store/f5s02wdxfrxflpf80gdnp7mw9dz49lm7-nixos-system-arm.drv"
OWN = "'x86_64-linux' with features {benchmark, big-parallel}"


def old(wanted: str) -> str:
    return f"error: a {wanted} is required to build '{DRV}', but I am a {OWN}"


def new(wanted: str) -> str:
    return (
        f"error: Cannot build '{DRV}'.\n       Reason: required system or feature not available\n"
        f"       Required system: {wanted}\n       Current system: {OWN}"
    )


@pytest.mark.parametrize("text", [old, new], ids=["2.26", "2.34"])
def test_another_platform(text: object) -> None:
    assert callable(text)
    found = explain_missing_builder(text("'aarch64-linux' with features {}"))
    assert found is not None
    detail, remedy = found
    assert detail == f"{DRV} is for aarch64-linux, and this machine builds x86_64-linux"
    assert remedy.startswith("name a remote builder for aarch64-linux (`builders` in nix.conf")
    assert "`boot.binfmt.emulatedSystems` of NixOS" in remedy


@pytest.mark.parametrize("text", [old, new], ids=["2.26", "2.34"])
def test_a_feature(text: object) -> None:
    assert callable(text)
    found = explain_missing_builder(text("'x86_64-linux' with features {big-parallel, kvm}"))
    assert found is not None
    assert found[0] == f"{DRV} needs a builder with kvm, and this machine has none"
    assert "name a remote builder with kvm" in found[1]


def test_any_other_failure() -> None:
    assert explain_missing_builder(f"error: builder for '{DRV}' failed with exit code 1") is None
