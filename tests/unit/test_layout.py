"""Where things live: docs say it in words, this holds the code to it."""

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Final

import pytest

ROOT = Path(__file__).parents[2]
PIPELINE = ROOT / "components" / "pipeline"
ROOMS: Final = (
    "errors",
    "process",
    "values",
    "config",
    "release",
    "evaluate",
    "transport",
    "activation",
    "deploy",
    "targets",
    "preflight",
)
"""The first level of components/pipeline: each may import those before it, and none after it."""


def test_the_program_imports_itself_by_relative_names_alone() -> None:
    """So that the folder `components` is the package `flakeup` of a wheel, too."""
    absolute = [
        f"{path.relative_to(ROOT)}: {name}"
        for path in sorted((ROOT / "components").rglob("*.py"))
        for name in _absolute_imports(path)
        if name.split(".")[0] in ("components", "providers")
    ]
    assert absolute == []


def test_the_provider_imports_itself_by_relative_names_and_the_program_by_its_folder() -> None:
    names = {
        name
        for path in (ROOT / "providers").rglob("*.py")
        if path.name != "serve.py"  # started by its path: it is in no package
        for name in _absolute_imports(path)
        if name.split(".")[0] in ("components", "providers")
    }
    assert names
    assert all(name.startswith("components.pipeline") for name in names)


def test_the_pipeline_has_these_rooms_and_no_others() -> None:
    assert len(ROOMS) <= 11
    found = {_room(path) for path in PIPELINE.rglob("*.py")} - {"__init__"}
    assert found == set(ROOMS)


def test_the_rooms_of_the_pipeline_import_downwards() -> None:
    upwards = [
        f"{path.relative_to(ROOT)}: {imported.relative_to(ROOT)}"
        for path, imports in _graph(PIPELINE).items()
        for imported in imports
        if ROOMS.index(_room(imported)) > ROOMS.index(_room(path))
    ]
    assert upwards == []


@pytest.mark.parametrize("folder", ["components", "providers", "tools/standins"])
def test_no_import_cycles(folder: str) -> None:
    graph = _graph(ROOT / folder)
    assert sum(map(len, graph.values())) > len(graph) // 2, "no imports were found"
    TopologicalSorter(graph).prepare()  # raises CycleError, which names the cycle


def test_the_entry_point_imports_stages_and_nothing_below_them() -> None:
    """`components.X` or `components.pipeline.X`: how a stage works is not its business."""
    ours = [name for name in _absolute_imports(ROOT / "__main__.py") if name != "pulumi"]
    stages = [name for name in ours if name.split(".")[0] == "components"]
    below = [name for name in stages if name.count(".") > (2 if "pipeline" in name else 1)]
    assert stages
    assert below == []


def _room(path: Path) -> str:
    return path.relative_to(PIPELINE).parts[0].removesuffix(".py")


def _graph(folder: Path) -> dict[Path, set[Path]]:
    """The modules below `folder`, and those among them that each imports."""
    modules = set(folder.rglob("*.py"))
    return {path: set(_imported(path)) & modules - {path} for path in modules}


def _imported(path: Path) -> Iterator[Path]:
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if not isinstance(node, ast.ImportFrom):
            continue
        base = path.parents[node.level - 1] if node.level else ROOT
        if (node.module or "").startswith("standins"):
            base = ROOT / "tools"
        module = base.joinpath(*(node.module or "").split(".")) if node.module else base
        for name in node.names:
            candidates = (
                module / f"{name.name}.py",
                module / name.name / "__init__.py",
                module.with_suffix(".py"),
                module / "__init__.py",
            )
            yield from [one for one in candidates if one.exists()][:1]


def _absolute_imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module or ""
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
