"""Entry point of the `flakeup` provider plugin; pulumi-resource-flakeup starts it."""

import sys
from pathlib import Path

# The program's own pipeline, which the resources are made of, stands beside `providers`.
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from providers.flakeup.plugin import FlakeupPlugin
from providers.sdk.server import serve

if __name__ == "__main__":
    sys.exit(serve(FlakeupPlugin(), sys.argv[1:]))
