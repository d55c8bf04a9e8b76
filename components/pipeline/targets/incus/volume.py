"""Storage volumes: created once, resized in place, and kept when their instance is deleted."""

from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from ...errors import IncusError, IncusNotFoundError, IncusRefusedError, message
from .api import Incus, segment, with_query
from .ownership import OWNER, Owner


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageVolume:
    """A volume as configured."""

    pool: str
    name: str
    size: str = ""
    member: str = ""
    """The cluster member to create it on: that of its instance."""

    @property
    def path(self) -> str:
        """Its path in the API."""
        return f"{self.collection}/{segment(self.name)}"

    @property
    def collection(self) -> str:
        """The path of the custom volumes in its pool."""
        return f"/1.0/storage-pools/{segment(self.pool)}/volumes/custom"

    @property
    def config(self) -> dict[str, str]:
        """Its config keys."""
        return {"size": self.size} if self.size else {}


async def ensure(incus: Incus, volume: StorageVolume, owner: Owner) -> None:
    """Create it, or change its size; its content is kept.

    Raises:
        IncusError: refused, or another owner has the name.
    """
    row = await _get_own(incus, volume, owner)
    where = f"{volume.name} ({incus.where}, pool {volume.pool})"
    try:
        if row is None:
            config = {**volume.config, OWNER: owner.text}
            path = volume.collection
            if volume.member:
                path = with_query(path, target=volume.member)
            await incus.change("POST", path, {"name": volume.name, "config": config})
        elif row["config"].get("size", "") != volume.size:
            kept = {key: text for key, text in row["config"].items() if key != "size"}
            body = {"config": {**kept, **volume.config}, "description": row["description"]}
            await incus.change("PUT", volume.path, body)
    except IncusRefusedError as error:
        key = "project" if "roject" in error.reason else "volumes"
        remedy = f"check `{key}` of its `incus` in the config"
        text = message("Incus refused the volume", where, error.reason, remedy)
        raise IncusError(text) from error


async def _get_own(incus: Incus, volume: StorageVolume, owner: Owner) -> dict[str, Any] | None:
    row: dict[str, Any] | None = await incus.find(volume.path)
    if row is None or row["config"].get(OWNER) == owner.text:
        return row
    where = f"{volume.name} ({incus.where}, pool {volume.pool})"
    detail = "a volume that is not part of this stack has that name"
    arguments = f"{incus.remote.name}:{volume.pool} {volume.name} --project {incus.project}"
    command = f"`incus storage volume set {arguments} {OWNER}={owner.text}`"
    remedy = f"choose another `name`, or let the stack take it over: {command}"
    raise IncusError(message("name taken", where, detail, remedy))


async def exists(incus: Incus, volume: StorageVolume) -> bool:
    """Whether it exists."""
    return await incus.find(volume.path) is not None


async def delete(incus: Incus, volume: StorageVolume, owner: Owner) -> None:
    """Delete it with its content, if it exists and belongs to the stack.

    Raises:
        IncusError: an instance still uses it.
    """
    row = await incus.find(volume.path)
    if row is None or row["config"].get(OWNER) != owner.text:
        return
    with suppress(IncusNotFoundError):
        await incus.change("DELETE", volume.path)
