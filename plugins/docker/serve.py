"""Entry point of the `docker` provider plugin; pulumi-resource-docker starts it."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "protocol"))

from docker_plugin.plugin import DockerPlugin
from plugin_protocol.server import serve

if __name__ == "__main__":
    sys.exit(serve(DockerPlugin(), sys.argv[1:]))
