"""docs/architecture.md names files and functions that exist."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PIPELINE = ROOT / "components" / "pipeline"
PAGE = (ROOT / "docs" / "architecture.md").read_text()
CODE = re.compile(r"`([^`\n]+)`")
TEXT = re.sub(r"(?<=:)\n\s*", " ", PAGE)  # a reference may go over the end of a line
REFERENCE = re.compile(r"`([\w./-]+\.(?:py|sh)): ([\w.]+)`")
FILE = re.compile(r"`((?:[\w-]+/)+(?:[\w.-]+)?|__main__\.py|[\w-]+\.py|[\w.-]+\.md)[`:]")
TREE = re.compile(r"^```\n(.*?)^```", re.MULTILINE | re.DOTALL)


def located(path: str) -> Path:
    """A path of the page: from the top, or from `components/pipeline/`."""
    return ROOT / path if (ROOT / path).exists() else PIPELINE / path


def references() -> list[tuple[str, str]]:
    return sorted(set(REFERENCE.findall(TEXT)))


def test_the_page_refers_to_code() -> None:
    assert len(references()) > 40


@pytest.mark.parametrize(("path", "name"), references())
def test_a_name_is_in_its_file(path: str, name: str) -> None:
    assert located(path).is_file(), f"docs/architecture.md names {path}: change it with the code"
    text = located(path).read_text()
    found = {
        part: re.search(
            rf"^\s*(?:async def |def |class ){part}\b|^{part}\(\)|^{part}\b.* = ",
            text,
            re.MULTILINE,
        )
        for part in name.split(".")
    }
    assert all(found.values()), (
        f"docs/architecture.md names {path}: {name}: change it with the code"
    )


def test_every_path_exists() -> None:
    missing = {path for path in FILE.findall(TEXT) if not located(path).exists()}
    assert missing == set()


def test_the_tree_is_the_one_that_is_there() -> None:
    tree = TREE.search(PAGE)
    assert tree is not None
    shown, parents = set(), [ROOT]
    for line in tree[1].splitlines():
        depth = (len(line) - len(line.lstrip())) // 2
        names = re.findall(r"[\w./]+", line.split("   ")[0].strip() or line)
        parents = parents[: depth + 1]
        for name in names:
            assert (parents[-1] / name).exists(), line
            shown.add((parents[-1] / name).relative_to(ROOT).as_posix())
        parents.append(parents[-1] / names[0])
    folders = {
        path.name
        for path in ROOT.iterdir()
        if path.is_dir() and not path.name.startswith(".") and any(path.glob("**/*.*"))
    }
    assert folders - {"docs"} <= {name.split("/")[0] for name in shown}


def test_every_room_of_the_pipeline_is_listed() -> None:
    rooms = {f"{path.name}/" for path in PIPELINE.iterdir() if (path / "__init__.py").is_file()}
    rooms |= {path.name for path in PIPELINE.glob("*.py")} - {"__init__.py"}
    listed = re.findall(r"^\| `([\w.]+/?)` \|", PAGE, re.MULTILINE)
    assert set(listed) == rooms
