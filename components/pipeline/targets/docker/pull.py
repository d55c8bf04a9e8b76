"""An image from its registry into a daemon: the daemon pulls the layers that it lacks."""

from collections.abc import Callable

from ...config.registry import Registry
from ...errors import DockerAwayError, DockerError, message
from . import image, login
from .daemon import Daemon, segment


async def pulled(
    docker: Daemon, ref: str, digest: str, registry: Registry, say: Callable[[str], None]
) -> str:
    """Have the image in the daemon under the name `ref`; gives Docker's own name for it.

    Raises:
        DockerError: the daemon cannot pull it, or has got another one.
        DockerAwayError: no daemon answers.
        RegistryError: the user's login is of no use.
    """
    path = f"/images/{segment(ref)}/json"
    if there := await docker.find(path):
        return str(there["Id"])
    who = await login.find(registry)
    name, _, tag = ref.rpartition(":")
    say("the daemon pulls the image")
    try:
        await docker.pull(name, tag, who.header(registry.host))
    except DockerAwayError:
        raise
    except DockerError as error:
        detail = registry.without_password(str(error))
        remedy = f"check that the daemon's machine reaches {registry.host}, with TLS it trusts"
        text = message("the daemon cannot pull the image", ref, detail, remedy)
        raise DockerError(text, code=error.code) from error
    found = await docker.find(path)
    if found and any(one.endswith(f"@{digest}") for one in found["RepoDigests"] or ()):
        return str(found["Id"])
    await image.remove(docker, ref)  # or the next `up` would take it for the right one
    detail = f"it has not got {digest[:19]}, which was pushed"
    remedy = "somebody else writes to that name: look into the registry"
    raise DockerError(message("the daemon has pulled another image", ref, detail, remedy))
