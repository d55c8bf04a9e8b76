"""Caches of one's own, for what must find nothing and leave nothing in the user's."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from components.pipeline.release import nix


@contextmanager
def isolated_caches(folder: Path) -> Iterator[None]:
    """Keep locks and evaluations of the block apart from the user's.

    What runs after it, such as a look at the toolchain, finds the user's again.
    """
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("XDG_CACHE_HOME", str(folder))
            nix.cache_folder.cache_clear()
            yield
    finally:
        nix.cache_folder.cache_clear()
