"""The demo's flake with an image of nix2container in it (tests/data/nix2container.nix)."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

STAND_IN: Final = Path(__file__).parents[2] / "tests" / "data" / "nix2container.nix"


def add(flake: Path, name: str, archive: str) -> None:
    """Give the flake an image `name` of nix2container, with the layers of its image `archive`."""
    images = flake / "lib" / "images.nix"
    images.rename(images.with_name("archives.nix"))
    shutil.copy(STAND_IN, flake / "lib" / "nix2container.nix")
    images.write_text(
        "args: let archives = import ./archives.nix args; in archives // {\n"
        f'  {name} = import ./nix2container.nix {{ inherit (args) build; name = "{name}"; '
        f"archive = archives.{archive}; }};\n}}\n"
    )
