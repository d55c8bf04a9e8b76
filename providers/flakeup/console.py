"""The wheel's console script `pulumi-resource-flakeup`, which the engine finds on PATH."""

import importlib
import sys


def main() -> int:
    """Serve the provider; returns the exit status.

    The provider imports the pipeline as `components`, its name in a repository; in the wheel, that
    package is `flakeup`. In this process, which is the provider's own, both names are the same.
    """
    sys.modules["components"] = importlib.import_module("flakeup")
    plugin = importlib.import_module(".plugin", __package__)
    server = importlib.import_module("..sdk.server", __package__)
    status: int = server.serve(plugin.FlakeupPlugin(), sys.argv[1:])
    return status
