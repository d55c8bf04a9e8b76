"""Units in the forms in which nixpkgs has written their derivations."""

import json

import pytest

from components.pipeline.evaluate import derivation
from components.pipeline.evaluate.system_units import SystemUnits
from components.pipeline.evaluate.unit_change import Effect, Switch
from tests.unit.evaluate.derivations import Graph


def tree(graph: Graph, *units: str, commands: str = "") -> SystemUnits:
    path = graph.add("system-units", units, {"buildCommand": commands})
    return SystemUnits.of(graph.derivations[path])


@pytest.fixture
def graph(monkeypatch: pytest.MonkeyPatch) -> Graph:
    made = Graph()
    monkeypatch.setattr(derivation, "_cache", made.derivations)
    return made


@pytest.mark.parametrize(
    ("store_name", "commands", "name"),
    [
        ("unit-a.service", "name=a.service\nmkdir -p x\n", "a.service"),
        ("unit-a-.service", "name=a@.service\n", "a@.service"),
        ("unit-getty-tty1.service", "name=getty@tty1.service\n", "getty@tty1.service"),
        ("unit-mnt-x2da.mount", "name=mnt\\\\x2da.mount\n", "mnt\\x2da.mount"),
        ("unit-a-.service", "name='a@.service'\n", "a@.service"),
        ("unit-a-b.service", 'mkdir "$out/$(dirname a)"\nmv "$textPath" "$out/a@b.service"\n',
         "a@b.service"),
        ("unit-a-b.service", 'echo -n "$text" > "$out/a@b.service"\n', "a@b.service"),
        ("unit-a-.service", "", "a@.service"),
        ("unit-a-b.service", "", "a-b.service"),
    ],
)  # fmt: skip
def test_names(graph: Graph, store_name: str, commands: str, name: str) -> None:
    unit = graph.add(store_name, variables={"text": "[Unit]\n", "buildCommand": commands})
    assert tree(graph, unit).names() == {name}


@pytest.mark.parametrize("name", ["unit-script-a-start", "unit-a", "a.service", "bash-5.2"])
def test_what_is_no_unit(graph: Graph, name: str) -> None:
    assert tree(graph, graph.add(name, variables={"text": "x"})).names() == frozenset()


def test_a_system_without_units() -> None:
    assert SystemUnits.of(None).names() == frozenset()


def test_a_unit_that_is_disabled_is_stopped(graph: Graph) -> None:
    on = graph.unit("a.service", "[Service]\nExecStart=/a\n")
    off = graph.add("unit-a.service-disabled", variables={"buildCommand": "name=a.service\n"})
    other = graph.add("unit-b.service-disabled", variables={"buildCommand": "name=b.service\n"})
    link = "ln -sfn '../a.service' $out/'multi-user.target.wants'/\n"
    enabled, disabled = tree(graph, on, commands=link), tree(graph, off, other)
    assert Switch.of(enabled, disabled).effects() == {
        "a.service": Effect.STOP,
        "b.service": Effect.STOP,
    }
    assert Switch.of(disabled, enabled).effects() == {"a.service": Effect.START}


def test_a_unit_without_a_text(graph: Graph) -> None:
    """A derivation of the user's own: whatever changes it may change the unit."""
    old, new = (graph.add("unit-a.service", variables={"version": one}) for one in "12")
    assert Switch.of(tree(graph, old), tree(graph, new)).effects() == {"a.service": Effect.RESTART}


def test_a_rebuilt_unit_with_the_same_text_is_left(graph: Graph) -> None:
    """Another nixpkgs changes the derivation of every unit, by its bash."""
    text = "[Service]\nExecStart=/a\n"
    old, new = (
        graph.add("unit-a.service", (graph.add(f"bash-{one}"),), {"text": text}) for one in "12"
    )
    assert Switch.of(tree(graph, old), tree(graph, new)).effects() == {}


def test_structured_attributes(graph: Graph) -> None:
    def unit(command: str) -> str:
        attributes = {
            "text": f"[Service]\nExecStart={command}\n",
            "buildCommand": "name=a@.service\n",
        }
        return graph.add("unit-a-.service", variables={"__json": json.dumps(attributes)})

    assert Switch.of(tree(graph, unit("/a")), tree(graph, unit("/b"))).effects() == {
        "a@.service": Effect.RESTART
    }


@pytest.mark.parametrize(
    ("commands", "started"),
    [
        ("ln -sfn '../a.service' $out/'multi-user.target.wants'/\n", True),
        ("ln -sfn '../a.service' $out/'multi-user.target.requires'/\n", True),
        ("ln -sfn '../a.service' $out/'basic.target.upholds'/\n", True),
        ("ln -s ../a.service $out/multi-user.target.wants/a.service\n", True),
        ("ln -s ../a.service $out/getty.target.wants/\n", True),
        ("ln -sfn '../a.service' $out/'shutdown.target.wants'/\n", False),
        ("ln -sfn 'b.service' $out/'a.service'\n", False),
    ],
)
def test_links(graph: Graph, commands: str, *, started: bool) -> None:
    unit = graph.unit("a.service", "[Service]\nExecStart=/a\n")
    assert ("a.service" in tree(graph, unit, commands=commands).started()) is started
