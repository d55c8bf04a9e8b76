"""Whether a daemon manages a swarm: asked before anything is made for one."""

from pathlib import Path

from ...config.services import Services
from ...errors import DockerAwayError, DockerError, message


async def checked(services: Services, folder: Path) -> None:
    """Refuse a daemon that manages none; one that is away is for others to name.

    `folder` has the files of ssh, for a daemon on another machine.

    Raises:
        DockerError: it manages none, and one of these services needs it.
    """
    name = next(iter(services.of_swarm), "")
    if not name:
        return
    from .daemon import Daemon  # noqa: PLC0415 for such stacks alone

    async with Daemon(services.host, folder) as docker:
        try:
            swarm = (await docker.get("/info")).get("Swarm") or {}
        except DockerAwayError:
            return
    if not swarm.get("ControlAvailable"):
        detail = f"services.{name} has strategy: swarm, and this daemon manages none"
        remedy = "run `docker swarm init` there, or let docker.host be a manager"
        raise DockerError(message("no swarm", services.host, detail, remedy))
