"""The daemon that the released Docker provider is configured with.

It asks the daemon when it is configured, in a preview too (pulumi-docker 5.2.0), and fails without
an answer. A preview compares the release with the state, for which no daemon is needed.
"""

from pathlib import Path
from typing import Final

import pulumi

from ..pipeline.config.docker import SCHEME
from ..pipeline.config.services import Services
from ..pipeline.errors import DockerUnavailableError

NOWHERE: Final = "ssh://nobody@no-daemon-in-this-preview.invalid"
"""An address that is not asked when the provider is configured, as it is one of ssh."""


async def find(services: Services, folder: Path) -> str:
    """Return the daemon of the services; in a preview where it does not answer, NOWHERE.

    An update waits for a daemon that restarts. `folder` has the ssh files.

    Raises:
        DockerUnavailableError: it does not answer an update.
    """
    host = services.host
    if not services.specs or host.startswith(f"{SCHEME}://"):
        return host
    from ..pipeline.targets.docker.daemon import (  # noqa: PLC0415 loads an HTTP client
        Daemon,
        retry_through_restart,
    )

    try:
        async with Daemon(host, folder) as docker:
            if pulumi.runtime.is_dry_run():
                await docker.get("/version")
            else:
                await retry_through_restart(docker, lambda: docker.get("/version"))
    except DockerUnavailableError as error:
        if not pulumi.runtime.is_dry_run():
            raise
        pulumi.log.warn(f"{error}; the preview shows what would change in the state")
        return NOWHERE
    return host
