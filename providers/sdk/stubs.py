"""The gRPC messages of the Pulumi SDK, without the SDK around them.

The engine starts this process on every preview. `import pulumi` (OpenTelemetry, the automation
API, dill) takes as long as all the rest of its start: 0.21 s of processor time with it, 0.11 s
without. The messages need nothing of it, so the three packages that contain them are entered
without running their `__init__`.
"""

import importlib.machinery
import sys
import types

_PACKAGES = ("pulumi", "pulumi.runtime", "pulumi.runtime.proto")


def _enter() -> None:
    """Make the packages importable as unwrap namespaces, unless the SDK is loaded already."""
    path = sys.path
    for name in _PACKAGES:
        if name in sys.modules:
            path = list(sys.modules[name].__path__)
            continue
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        if spec is None or spec.submodule_search_locations is None:
            msg = f"the Python package {name!r} is missing: install pulumi into {sys.prefix}"
            raise ImportError(msg)
        package = types.ModuleType(name)
        package.__path__ = path = list(spec.submodule_search_locations)
        sys.modules[name] = package


_enter()

from pulumi.runtime.proto import (  # noqa: E402 importable only now
    engine_pb2,
    engine_pb2_grpc,
    plugin_pb2,
    provider_pb2,
    provider_pb2_grpc,
    status_pb2,
)

__all__ = [
    "engine_pb2",
    "engine_pb2_grpc",
    "plugin_pb2",
    "provider_pb2",
    "provider_pb2_grpc",
    "status_pb2",
]
