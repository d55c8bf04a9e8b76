"""`pulumi-resource-flakeup` of the wheel: the engine finds it on PATH."""

import importlib
import sys


def main() -> int:
    """Serve the provider; the exit status is the process's.

    The provider imports the program's pipeline as `components`, its name in a repository. The
    wheel has it as `flakeup`: in this process, which is the provider's own, both names are one.
    """
    sys.modules["components"] = importlib.import_module("flakeup")
    plugin = importlib.import_module(".plugin", __package__)
    server = importlib.import_module("..sdk.server", __package__)
    status: int = server.serve(plugin.FlakeupPlugin(), sys.argv[1:])
    return status
