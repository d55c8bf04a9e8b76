"""What the pages point to exists: files, headings, and paths named in the text."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
ANCHOR = re.compile(r'<a id="([^"]+)"')
PATH = re.compile(r"`((?:components|docs|flake|harness|providers|tests|tools)/[\w./-]*)")


def pages() -> list[str]:
    listed = subprocess.run(
        ("git", "ls-files", "-co", "--exclude-standard", "*.md"),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return [name for name in listed.stdout.splitlines() if (ROOT / name).is_file()]


PAGES = pages()


def prose(page: Path) -> str:
    return FENCE.sub("", page.read_text())


def anchors(page: Path) -> set[str]:
    text = prose(page)
    return {slug(title) for title in HEADING.findall(text)} | set(ANCHOR.findall(text))


def slug(title: str) -> str:
    """The anchor that GitHub gives a heading."""
    words = re.sub(r"[^\w\- ]", "", title.lower())
    return words.replace(" ", "-")


def broken(page: Path) -> Iterator[str]:
    for link in LINK.findall(prose(page)):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            yield link


def test_there_are_pages() -> None:
    assert {"README.md", "CONTRIBUTING.md", "docs/architecture.md"} <= set(PAGES)


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_somewhere(name: str) -> None:
    assert list(broken(ROOT / name)) == []


@pytest.mark.parametrize("name", PAGES)
def test_paths_exist(name: str) -> None:
    named = {path.rstrip(".") for path in PATH.findall((ROOT / name).read_text())}
    assert [path for path in sorted(named) if not (ROOT / path).exists()] == []
