"""Entry point of the `flakeup` provider plugin, started by pulumi-resource-flakeup."""

import sys
from pathlib import Path

# The repository: the packages `providers` and `components`.
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from providers.flakeup.plugin import FlakeupPlugin
from providers.sdk.server import serve

if __name__ == "__main__":
    sys.exit(serve(FlakeupPlugin(), sys.argv[1:]))
