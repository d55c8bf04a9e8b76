"""Entry point of the `command` provider plugin; pulumi-resource-command starts it."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "protocol"))

from command_plugin.resources import CommandPlugin
from plugin_protocol.server import serve

if __name__ == "__main__":
    sys.exit(serve(CommandPlugin(), sys.argv[1:]))
