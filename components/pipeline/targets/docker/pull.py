"""An image from its registry into a daemon: the daemon pulls the layers that it lacks."""

from collections.abc import Callable

from ...config.registry import Registry
from ...errors import DockerError, DockerRefusedError, message
from . import image, login
from .daemon import Daemon, segment


async def ensure_pulled(
    docker: Daemon, ref: str, digest: str, registry: Registry, report: Callable[[str], None]
) -> str:
    """Make sure that the daemon has the image `ref`, and return its id.

    `digest` is that of the manifest that was pushed under this name.

    Raises:
        DockerError: the daemon cannot pull it, or has pulled a different one.
        DockerUnavailableError: the daemon does not respond.
        RegistryError: the user's login cannot be read.
    """
    path = f"/images/{segment(ref)}/json"
    if existing := await docker.find(path):
        return str(existing["Id"])
    credentials = await login.find(registry)
    name, _, tag = ref.rpartition(":")
    report("pulling the image")
    try:
        await docker.pull(name, tag, credentials.header(registry.host))
    except DockerRefusedError as error:
        detail = registry.without_password(error.reason)
        remedy = f"check that the daemon can reach {registry.host}, and trusts its certificate"
        text = message("the daemon cannot pull the image", ref, detail, remedy)
        raise DockerError(text) from error
    found = await docker.find(path)
    if found and any(one.endswith(f"@{digest}") for one in found["RepoDigests"] or ()):
        return str(found["Id"])
    await image.remove(docker, ref)  # or the next `up` would take it for the right one
    detail = f"it is not {digest[:19]}, which was pushed"
    remedy = "check who else pushes to this name in the registry"
    raise DockerError(message("the daemon pulled a different image", ref, detail, remedy))
