"""An image from its registry into a daemon: the daemon pulls the layers that it lacks."""

from collections.abc import Callable
from urllib.parse import urlencode

from ...config.registry import Registry
from ...errors import DockerError, DockerRefusedError, message
from . import image, login
from .daemon import Daemon, segment


async def ensure_pulled(
    docker: Daemon, ref: str, digest: str, registry: Registry, report: Callable[[str], None]
) -> str:
    """Make sure that the daemon has the image under the name `ref`, and return its id.

    It is pulled by `digest`, that of the manifest in the registry, and named afterwards: whatever
    has the name in the registry by then is not asked for.

    Raises:
        DockerError: the daemon cannot pull it, or has another image under this name.
        DockerUnavailableError: the daemon does not respond.
        RegistryError: the user's login cannot be read.
    """
    name, _, tag = ref.rpartition(":")
    pinned = f"{name}@{digest}"
    existing = await docker.find(f"/images/{segment(ref)}/json")
    if existing and pinned in (existing.get("RepoDigests") or ()):
        return str(existing["Id"])
    await _pull(docker, name, digest, registry, report)
    found = await docker.get(f"/images/{segment(pinned)}/json")
    if existing is None:
        query = urlencode({"repo": name, "tag": tag})
        await docker.change("POST", f"/images/{segment(pinned)}/tag?{query}")
    elif existing["Id"] != found["Id"]:
        await image.remove(docker, pinned)
        raise image.name_taken(docker, ref, f"it is {existing['Id']}, not {found['Id']}")
    return str(found["Id"])


async def _pull(
    docker: Daemon, name: str, digest: str, registry: Registry, report: Callable[[str], None]
) -> None:
    credentials = await login.find(registry)
    report("pulling the image")
    try:
        await docker.pull(name, digest, credentials.header(registry.host))
    except DockerRefusedError as error:
        detail = registry.without_password(error.reason)
        remedy = f"check that the daemon can reach {registry.host}, and trusts its certificate"
        text = message("the daemon cannot pull the image", f"{name}@{digest}", detail, remedy)
        raise DockerError(text) from error
