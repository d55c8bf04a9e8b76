"""The tree id of a folder is the same as git's."""

import subprocess
from pathlib import Path

from components.pipeline.release.tree import files_in, tree_id


def git(folder: Path, *words: str) -> str:
    argv = ("git", "-C", str(folder), "-c", "core.autocrlf=false", *words)
    return subprocess.run(
        argv, capture_output=True, text=True, check=True, timeout=20
    ).stdout.strip()


def test_it_is_the_same_as_git_write_tree(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet")
    for name in ("a/x", "a.b", "a-b/y", "a0", "deep/er/z", "é"):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{name}\r\n")
    (tmp_path / "run").write_text("#!/bin/sh\n")
    (tmp_path / "run").chmod(0o755)
    (tmp_path / "link").symlink_to("a")
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "empty/of/all").mkdir(parents=True)
    git(tmp_path, "add", "--all")
    assert tree_id(files_in(tmp_path)) == git(tmp_path, "write-tree")


def test_an_empty_folder_is_gits_empty_tree(tmp_path: Path) -> None:
    assert tree_id(files_in(tmp_path)) == "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
