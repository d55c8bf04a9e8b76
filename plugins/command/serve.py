"""Entry point of the `command` provider plugin; pulumi-resource-command starts it."""

import sys

from command_plugin.server import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
