"""Which derivations are packages, and which only look like it."""

import json

import pytest

from components.pipeline.evaluate.packages import version_changes, versions
from tests.unit.evaluate.derivations import Graph


def found(name: str, **variables: str) -> dict[str, set[str]]:
    graph = Graph()
    return versions([graph.derivations[graph.add(name, variables=variables)]])


@pytest.mark.parametrize(
    "pname",
    [
        "etcd", "etckeeper", "etc-tools", "source-code-pro", "source-han-sans", "sourcehut-todo",
        "hooks", "hook", "stdenv-info", "bootstrap", "bootstrap-studio", "unit-tests", "unit",
        "linux-zen", "linux-hardened", "linux-rpi", "nginx", "initrd-tools", "git-hook", "k3s.sh",
        "site.conf", "schema.json", "python3.12-requests", "nixos-rebuild-ng", "x-env",
    ],
)  # fmt: skip
@pytest.mark.parametrize("structured", [False, True])
def test_every_package_of_nixpkgs_is_one(pname: str, *, structured: bool) -> None:
    variables = {"pname": pname, "version": "1.2-rc.json"}
    if structured:
        variables = {"__json": json.dumps(variables)}
    assert found(f"{pname}-1.2-rc.json", **variables) == {pname: {"1.2-rc.json"}}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("etcd-3.5.16", ("etcd", "3.5.16")),
        ("etckeeper-1.18", ("etckeeper", "1.18")),
        ("source-han-sans-2.004", ("source-han-sans", "2.004")),
        ("hooks-2", ("hooks", "2")),
        ("linux-zen-6.12.58", ("linux-zen", "6.12.58")),
        ("own-app-v2", ("own-app", "v2")),
    ],
)
def test_packages_by_their_name_alone(name: str, expected: tuple[str, str]) -> None:
    assert found(name) == {expected[0]: {expected[1]}}


def test_a_version_that_is_a_word() -> None:
    assert found("own-app-main", version="main") == {"own-app": {"main"}}


def test_a_package_that_is_fetched_as_it_is() -> None:
    variables = {"pname": "linux-firmware", "version": "20250109", "outputHash": "sha256-x"}
    assert found("linux-firmware-20250109", **variables) == {"linux-firmware": {"20250109"}}


@pytest.mark.parametrize(
    ("name", "variables"),
    [
        ("source", {}), ("source-1", {"outputHash": "sha256-x"}), ("stdenv-linux", {}),
        ("app-2.tar.gz", {}), ("app-2-vendor", {"outputHash": "sha256-x"}), ("fix-1.2.patch", {}),
        ("bootstrap-stage2-gcc-wrapper-14.2", {"pname": "bootstrap-stage2-gcc-wrapper",
                                               "version": "14.2"}),
        ("unit-app-1.service", {}), ("etc-systemd-network-10-eth.network", {}),
        ("nginx-1.26.conf", {}), ("settings-2", {"text": "a = b", "passAsFile": "text"}),
        ("empty-2", {"text": ""}), ("X-Restart-Triggers-app-2", {}), ("perl-5.40.0-env", {}),
        ("nixos-system-web1-25.11", {}), ("initrd-linux-6.12.58", {}),
        ("linux-6.12.58-modules", {}), ("linux-6.12.58-modules-shrunk", {}), ("system-path", {}),
    ],
)  # fmt: skip
def test_what_is_no_package(name: str, variables: dict[str, str]) -> None:
    assert found(name, **variables) == {}


def test_changes() -> None:
    old = {"a": {"1"}, "b": {"1", "2"}, "gone": {"1"}, "same": {"3"}}
    new = {"a": {"2"}, "b": {"2"}, "come": {"1"}, "same": {"3"}}
    assert [str(one) for one in version_changes(old, new)] == [
        "a: 1 → 2", "b: 1, 2 → 2", "come: added 1", "gone: removed 1",
    ]  # fmt: skip
