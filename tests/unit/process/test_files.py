"""Files that are there whole, or not at all."""

import os
from pathlib import Path

import pytest

from components.pipeline.process import files


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is synced and renamed, in order."""
    done: list[str] = []
    fsync, rename = os.fsync, Path.rename

    def synced(descriptor: int) -> None:
        done.append(f"sync {Path(f'/proc/self/fd/{descriptor}').resolve().name.split('.')[0]}")
        fsync(descriptor)

    def renamed(self: Path, target: Path) -> Path:
        done.append(f"rename {target.name}")
        return rename(self, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "rename", renamed)
    return done


def test_a_file_is_on_the_disk_before_it_has_its_name(tmp_path: Path, steps: list[str]) -> None:
    """Otherwise a power cut may leave an empty file of that name."""
    folder = tmp_path / "folder"
    folder.mkdir()
    target = folder / "lock"
    target.write_text("old")
    files.replace(target, "new", mode=0o600)
    assert target.read_text() == "new"
    assert target.stat().st_mode & 0o777 == 0o600
    assert steps == ["sync lock", "rename lock", "sync folder"]
    assert list(folder.iterdir()) == [target]


def test_a_folder_is_on_the_disk_with_all_its_files(tmp_path: Path, steps: list[str]) -> None:
    made = tmp_path / "partial"
    (made / "sub").mkdir(parents=True)
    (made / "sub" / "inner").write_text("x")
    (made / "outer").write_text("x")
    (made / "link").symlink_to("/nowhere")
    files.publish(made, tmp_path / "tree")
    assert (tmp_path / "tree" / "sub" / "inner").read_text() == "x"
    assert sorted(steps[:-2]) == ["sync inner", "sync outer", "sync partial", "sync sub"]
    assert steps[-2:] == ["rename tree", f"sync {tmp_path.name}"]


def test_nothing_is_left_of_a_failure(tmp_path: Path) -> None:
    target = tmp_path / "folder"
    (target / "full").mkdir(parents=True)
    with pytest.raises(OSError, match="directory"):
        files.replace(target, "text")
    assert list(tmp_path.iterdir()) == [target]
