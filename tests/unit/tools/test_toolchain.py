"""What tools/bootstrap writes for others to read."""

import importlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

TOOLS = Path(__file__).parents[3] / "tools"
Write = Callable[..., None]


@pytest.fixture
def write(monkeypatch: pytest.MonkeyPatch) -> Write:
    """As the bootstrap has it, which runs before there is an environment."""
    monkeypatch.syspath_prepend(TOOLS)
    found: Write = importlib.import_module("toolchain.paths").write
    return found


def test_a_file_that_several_write_at_once_is_the_one_of_somebody(
    write: Write, tmp_path: Path
) -> None:
    """Both plugins are put in place by threads of one process, and ask the same tools first."""
    place = tmp_path / "folder" / "machine.json"
    texts = [str(number) * 100_000 for number in range(8)]
    with ThreadPoolExecutor(max_workers=8) as pool:
        for _ in range(50):
            list(pool.map(lambda text: write(place, text, mode=0o755), texts))
            assert place.read_text() in texts
    assert place.stat().st_mode & 0o777 == 0o755
    assert list(place.parent.iterdir()) == [place]


def test_one_that_says_so_already_is_not_touched(write: Write, tmp_path: Path) -> None:
    place = tmp_path / "file"
    write(place, "same")
    before = place.stat()
    write(place, "same")
    assert place.stat() == before
