"""Where things live: docs say it in words, this holds the code to it."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]


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


def _absolute_imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module or ""
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def test_the_entry_point_imports_stages_and_nothing_below_them() -> None:
    """`components.X` or `components.pipeline.X`: how a stage works is not its business."""
    ours = [name for name in _absolute_imports(ROOT / "__main__.py") if name != "pulumi"]
    stages = [name for name in ours if name.split(".")[0] == "components"]
    below = [name for name in stages if name.count(".") > (2 if "pipeline" in name else 1)]
    assert stages
    assert below == []
