"""Entry point of the stand-in for pulumi-docker, started by pulumi-resource-docker."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from providers.sdk.server import serve

from standins.docker.plugin import DockerPlugin

if __name__ == "__main__":
    sys.exit(serve(DockerPlugin(), sys.argv[1:]))
