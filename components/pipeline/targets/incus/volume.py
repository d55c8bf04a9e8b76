"""A storage volume of an instance: made once, grown in place, and kept when the instance goes."""

from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from ...errors import IncusError, IncusNotFoundError, IncusRefusedError, message
from .api import Incus, asked, segment
from .ownership import OWNER, Owner


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    """A volume as the config has it."""

    pool: str
    name: str
    size: str = ""
    member: str = ""
    """The cluster's member that it is made on: its instance's."""

    @property
    def path(self) -> str:
        """Where the server keeps it."""
        return f"{self.home}/{segment(self.name)}"

    @property
    def home(self) -> str:
        """Where the server keeps volumes of its kind."""
        return f"/1.0/storage-pools/{segment(self.pool)}/volumes/custom"

    @property
    def config(self) -> dict[str, str]:
        """Its config keys."""
        return {"size": self.size} if self.size else {}


async def ensure(incus: Incus, volume: Volume, owner: Owner) -> None:
    """Make it, or bring its size to what is wanted; what is on it stays.

    Raises:
        IncusError: refused; or the name is somebody else's.
    """
    row = await _found(incus, volume, owner)
    where = f"{volume.name} ({incus.where}, pool {volume.pool})"
    try:
        if row is None:
            config = {**volume.config, OWNER: owner.text}
            target = asked(volume.home, target=volume.member) if volume.member else volume.home
            await incus.change("POST", target, {"name": volume.name, "config": config})
        elif row["config"].get("size", "") != volume.size:
            kept = {key: text for key, text in row["config"].items() if key != "size"}
            body = {"config": {**kept, **volume.config}, "description": row["description"]}
            await incus.change("PUT", volume.path, body)
    except IncusRefusedError as error:
        key = "project" if "roject" in error.reason else "volumes"
        remedy = f"look at `{key}` of its `incus` in the config"
        text = message("Incus refused the volume", where, error.reason, remedy)
        raise IncusError(text) from error


async def _found(incus: Incus, volume: Volume, owner: Owner) -> dict[str, Any] | None:
    row: dict[str, Any] | None = await incus.find(volume.path)
    if row is None or row["config"].get(OWNER) == owner.text:
        return row
    where = f"{volume.name} ({incus.where}, pool {volume.pool})"
    detail = "a volume that this stack has not made has that name"
    place = f"{incus.remote.name}:{volume.pool} {volume.name} --project {incus.project}"
    give = f"`incus storage volume set {place} {OWNER}={owner.text}`"
    remedy = f"write another `name`, or give it to the stack: {give}"
    raise IncusError(message("name taken", where, detail, remedy))


async def is_there(incus: Incus, volume: Volume) -> bool:
    """Whether the server has it."""
    return await incus.find(volume.path) is not None


async def delete(incus: Incus, volume: Volume, owner: Owner) -> None:
    """Remove it, with what is on it; that it is gone, or is somebody else's, is no error.

    Raises:
        IncusError: an instance still has it.
    """
    row = await incus.find(volume.path)
    if row is None or row["config"].get(OWNER) != owner.text:
        return
    with suppress(IncusNotFoundError):
        await incus.change("DELETE", volume.path)
