"""Entry point of the `flakeup` provider plugin, started by pulumi-resource-flakeup."""

import sys
from pathlib import Path

# The repository, with the packages `providers` and `components`, in place of this folder, whose
# docker.py would be taken for the package `docker`.
sys.path.pop(0)
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from providers.flakeup.plugin import FlakeupPlugin
from providers.sdk.server import serve

if __name__ == "__main__":
    sys.exit(serve(FlakeupPlugin(), sys.argv[1:]))
