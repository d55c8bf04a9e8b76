"""Entry point of the stand-in for pulumi-command, started by pulumi-resource-command."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from providers.sdk.server import serve

from standins.command.resources import CommandPlugin

if __name__ == "__main__":
    sys.exit(serve(CommandPlugin(), sys.argv[1:]))
