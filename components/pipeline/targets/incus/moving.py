"""From one member of a cluster to another: an instance with its root, and never its volumes."""

from collections.abc import Callable
from dataclasses import replace

from ...errors import IncusError
from . import cluster, instance, messages
from .api import UPLOAD, Incus, asked
from .desired import Wanted
from .observed import Seen


async def move(incus: Incus, seen: Seen, wanted: Wanted, say: Callable[[str], None]) -> None:
    """Move it to the member that is wanted, for which it is stopped; it stays the same instance.

    Raises:
        IncusError: it cannot go there; it is where it was, and runs as before.
    """
    await cluster.check(incus, wanted)
    devices = {**seen.devices, **wanted.devices}
    await cluster.beside_volumes(incus, wanted, devices, wanted.member)
    say(f"moving {seen.name} from {seen.member} to {wanted.member}")
    here = replace(wanted, name=seen.name, running=seen.running)
    await instance.stop(incus, here)
    try:
        body = {"name": here.name, "migration": True}
        await incus.change("POST", asked(here.path, target=wanted.member), body, seconds=UPLOAD)
    except IncusError as error:
        if error.code == 0:
            raise
        await instance.run(incus, here, say)
        raise IncusError(messages.refused(incus, wanted, error)) from error
