"""Isolated caches, for runs that must not use or change the user's."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from components.pipeline.release import nix


@contextmanager
def isolated_caches(folder: Path) -> Iterator[None]:
    """Use `folder` instead of the user's cache during the block."""
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("XDG_CACHE_HOME", str(folder))
            nix.cache_folder.cache_clear()
            yield
    finally:
        nix.cache_folder.cache_clear()
