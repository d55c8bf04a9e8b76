"""Storage volumes: created once, resized in place, and kept when their instance is deleted."""

from contextlib import suppress
from dataclasses import dataclass

from ...errors import IncusError, IncusNotFoundError, IncusRefusedError, message, printable
from ...values import Owner
from ...values.owner import is_named, take_over
from .api import Incus, segment, with_query
from .ownership import OWNER


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


async def ensure(
    incus: Incus, volume: StorageVolume, owner: Owner, *, previous: Owner | None = None
) -> None:
    """Create it, or change its size and its owner; its content is kept.

    `previous` is the owner that the stack had before.

    Raises:
        IncusError: refused, or another owner has the name.
    """
    row = await incus.find(volume.path)
    where = _describe(incus, volume)
    label = str(row["config"].get(OWNER, "")) if row else ""
    if row and label not in {one.text for one in (owner, previous) if one}:
        raise IncusError(name_taken(incus, volume, label, owner.name, owner))
    try:
        if row is None:
            config = {**volume.config, OWNER: owner.text}
            path = volume.collection
            if volume.member:
                path = with_query(path, target=volume.member)
            await incus.change("POST", path, {"name": volume.name, "config": config})
            return
        kept = {key: text for key, text in row["config"].items() if key != "size"}
        config = {**kept, **volume.config, OWNER: owner.text}
        if config != row["config"]:
            body = {"config": config, "description": row["description"]}
            await incus.change("PUT", volume.path, body)
    except IncusRefusedError as error:
        key = "project" if "roject" in error.reason else "volumes"
        remedy = f"check `{key}` of its `incus` in the config"
        text = message("Incus refused the volume", where, error.reason, remedy)
        raise IncusError(text) from error


async def owner_label(incus: Incus, volume: StorageVolume) -> str | None:
    """The label of an existing volume, empty if it has none; None if there is no such volume."""
    row = await incus.find(volume.path)
    return None if row is None else str(row["config"].get(OWNER, ""))


def name_taken(
    incus: Incus, volume: StorageVolume, label: str, stack: str, owner: Owner | None
) -> str:
    """The message about a name that a volume of another owner has.

    `stack` is PROJECT/STACK of the stack that wants the name; `owner` is None before its first
    `up`, as no state has one yet: then it can be set.
    """
    whose = f"of {printable(label)}" if label else "that is not part of this stack"
    detail = f"a volume {whose} has that name"
    remedy = "choose another `name`"
    if is_named(label, stack):
        remedy += f"; if the state was lost, {take_over(label)}"
    else:
        text = (owner or Owner.new(stack)).text
        arguments = f"{incus.remote.name}:{volume.pool} {volume.name} --project {incus.project}"
        remedy += f", or let the stack take it over: `incus storage volume set {arguments} "
        remedy += f"{OWNER}={text}`"
        remedy += "" if owner else f" and `pulumi config set owner {text}`"
    return message("name taken", _describe(incus, volume), detail, remedy)


def _describe(incus: Incus, volume: StorageVolume) -> str:
    return f"{volume.name} ({incus.where}, pool {volume.pool})"


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
