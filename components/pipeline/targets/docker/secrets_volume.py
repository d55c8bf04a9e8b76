"""The secrets of a service in a daemon: files under /run/secrets, in a volume of their own.

The volume belongs to a container that is created, filled and never started; the service's
container mounts it from there, read-only. So the files exist before the program starts, are in no
layer of its container, and work with a read-only root, into which a daemon does not write.
"""

from collections.abc import Mapping
from typing import Any, Final

from ...config.service_secrets import FOLDER

MODE: Final = 0o444
"""The mode of the files, as Docker's own secrets have it."""
COMMAND: Final = ("never-started",)
"""The command of a secrets container: it must have one, and never runs it."""


def secrets_container(image: str, labels: Mapping[str, str]) -> dict[str, Any]:
    """Return the container that the volume belongs to, as the REST interface has it."""
    return {
        "Image": image,
        "Cmd": list(COMMAND),
        "Labels": dict(labels),
        "Volumes": {FOLDER: {}},
        "HostConfig": {"NetworkMode": "none"},
    }


def volumes_from(container: str) -> str:
    """Return the `VolumesFrom` of a container that mounts what this secrets container has."""
    return f"{container}:ro"
