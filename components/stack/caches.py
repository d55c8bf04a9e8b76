"""What a preview says of the binary caches that a flake names."""

from pathlib import Path

import pulumi

from ..pipeline.config.stack import Settings
from ..pipeline.evaluate.flake_caches import ignored_caches
from ..pipeline.release.flake import Flake


async def report(flake: Flake, settings: Settings) -> None:
    """In a preview, say which caches the flake names that nix does not use; never take them."""
    if not pulumi.runtime.is_dry_run() or not flake.source:
        return
    if line := await ignored_caches(Path(flake.source) / flake.dir, settings.caches):
        pulumi.log.info(line)
