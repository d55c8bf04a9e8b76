"""Reading `.drv` files, and the difference of two build graphs."""

import json
from pathlib import Path

import pytest

from components.pipeline.evaluate import derivation
from components.pipeline.evaluate.derivation import Derivation, difference
from tests.unit.evaluate.derivations import NEW, OLD, Graph, read_all


@pytest.fixture(autouse=True)
def store(monkeypatch: pytest.MonkeyPatch) -> dict[str, Derivation]:
    """The test data, in place of the store."""
    found = read_all()
    monkeypatch.setattr(derivation, "_cache", found)
    return found


def named(drvs: dict[str, Derivation], name: str) -> Derivation:
    (found,) = (drv for drv in drvs.values() if drv.name == name)
    return found


def test_name(store: dict[str, Derivation]) -> None:
    assert store[OLD.drv_path.path].name == "nixos-system-web1-25.11"


def test_inputs_are_the_derivations_and_not_the_sources(store: dict[str, Derivation]) -> None:
    inputs = {store[path].name for path in named(store, "app-1").inputs}
    assert inputs == {"glibc-2.40-36", "app-1.tar.gz"}
    assert named(store, "glibc-2.40-36").inputs == frozenset()


def test_variables(store: dict[str, Derivation]) -> None:
    drv = store[OLD.drv_path.path]
    assert drv.variable("kernelParams") == "loglevel=4"
    assert drv.variable("quoted") == 'a "b"\\c\n\td'
    assert drv.variable("b") is None


def test_a_derivation_without_environment(tmp_path: Path) -> None:
    path = tmp_path / f"{'0' * 32}-x.drv"
    path.write_text('Derive([("out","/nix/store/x","","")],[],[],"x86_64-linux","/bin/sh",[],[])')
    assert Derivation.read(str(path)).variable("name") is None


@pytest.mark.parametrize(
    "value", ["],[(", 'x],[("name","other")', '("pname","other")', "", "é\\", 'line\n"'],
)  # fmt: skip
def test_a_value_may_look_like_an_environment(value: str) -> None:
    graph = Graph()
    path = graph.add("x", variables={"before": value, "pname": "x", "zlast": value})
    drv = graph.derivations[path]
    assert [drv.variable(name) for name in ("before", "pname", "zlast")] == [value, "x", value]


@pytest.mark.parametrize(
    ("value", "text"),
    [("1.2", "1.2"), (["a", "b"], "a b"), (True, "1"), (False, ""), (None, ""), (3, "3")],
)
def test_structured_attributes(value: object, text: str) -> None:
    graph = Graph()
    path = graph.add("x", variables={"__json": json.dumps({"version": value, "name": "x"})})
    assert graph.derivations[path].variable("version") == text
    assert graph.derivations[path].variable("pname") is None


def test_the_nearest_derivation(monkeypatch: pytest.MonkeyPatch) -> None:
    """That of a specialisation is further away."""
    graph = Graph()
    own, other = graph.add("etc", variables={"of": "own"}), graph.add("etc")
    system = graph.system(own, graph.system(other).drv_path.path)
    monkeypatch.setattr(derivation, "_cache", graph.derivations)
    found = derivation.nearest(system.drv_path, lambda drv: drv.variable("of") == "own")
    assert found == graph.derivations[own]
    assert derivation.nearest(system.drv_path, lambda drv: drv.name == "nowhere") is None


def test_several_outputs_of_an_input(tmp_path: Path) -> None:
    path = tmp_path / f"{'0' * 32}-x.drv"
    inputs = '("/nix/store/a.drv",["dev","out"]),("/nix/store/b.drv",["out"])'
    path.write_text(f'Derive([],[{inputs}],["/nix/store/c"],"x","/bin/sh",[],[("a","b")])')
    assert Derivation.read(str(path)).inputs == {"/nix/store/a.drv", "/nix/store/b.drv"}


def test_difference_omits_shared_derivations() -> None:
    removed, added = difference(OLD.drv_path, NEW.drv_path)
    shared = {"glibc-2.40-36", "unit-same.service", "linux-6.12.58"}
    assert shared.isdisjoint(drv.name for drv in (*removed.values(), *added.values()))
    assert removed.keys().isdisjoint(added)
    assert {drv.name for drv in removed.values()} >= {"app-1", "openssl-3.0.13", "htop-3.3.0"}
    assert {drv.name for drv in added.values()} >= {"app-2", "openssl-3.0.14", "wget-1.21"}


def test_no_difference() -> None:
    assert difference(OLD.drv_path, OLD.drv_path) == ({}, {})


def test_each_derivation_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A diamond: the root needs two derivations, which both need a third."""
    third, left, right, root = (str(tmp_path / f"{letter * 32}-x.drv") for letter in "0123")
    for path, inputs in ((third, []), (left, [third]), (right, [third]), (root, [left, right])):
        listed = ",".join(f'("{one}",["out"])' for one in inputs)
        Path(path).write_text(f'Derive([],[{listed}],[],"x","/bin/sh",[],[])')
    opened: list[str] = []

    def read(path: str) -> Derivation:
        opened.append(path)
        text = Path(path).read_text()
        return Derivation(path=path, inputs=frozenset(derivation._INPUTS.findall(text)), text=text)

    monkeypatch.setattr(Derivation, "read", read)
    assert derivation._walk(root).keys() == {third, left, right, root}
    derivation._walk(left)
    assert sorted(opened) == sorted([third, left, right, root])
