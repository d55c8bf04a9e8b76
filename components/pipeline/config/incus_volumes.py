"""The volumes of an instance as configured, and what names and sizes in Incus may look like."""

import re
from dataclasses import dataclass, replace
from typing import Final, Self

from ..values import InvalidValue
from ..values.names import check_characters
from .incus_table import VOLUME, VOLUMES
from .section import Section, flag

MAX_VOLUMES: Final = 16
_MAX_NAME: Final = 63
_SIZE: Final = re.compile(r"[1-9][0-9]{0,11}(?:[MGT]i?B)")
_PATH: Final = re.compile(r"/[A-Za-z0-9._/+@-]{1,199}")


@dataclass(frozen=True, slots=True)
class IncusName:
    """The name of a remote, project, profile, network, pool or member."""

    text: str

    def __post_init__(self) -> None:
        check_characters(self.text, "A-Za-z0-9._-", limit=_MAX_NAME)
        if not self.text[0].isalnum():
            msg = "begins with neither a letter nor a digit"
            raise InvalidValue(msg)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse a name, or raise InvalidValue."""
        return cls(text)


def parse_size(text: str) -> str:
    """Parse a size such as `20GiB`, or raise InvalidValue."""
    if not _SIZE.fullmatch(text):
        msg = "is not a whole number with a unit"
        raise InvalidValue(msg)
    return text


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeSpec:
    """A volume of an instance as configured."""

    key: str
    """Its name in the config, and of its device."""
    name: str
    """In its pool."""
    pool: str
    path: str
    size: str = ""
    protect: bool = True

    @property
    def device(self) -> dict[str, str]:
        """As a device of the instance."""
        return {"type": "disk", "pool": self.pool, "source": self.name, "path": self.path}


def read_volumes(section: Section, instance: str, taken: frozenset[str]) -> tuple[VolumeSpec, ...]:
    """Read the volumes of an instance; `taken` are the names of its other devices."""
    values = section.mapping("volumes")
    if values is None:
        return ()
    if len(values) > MAX_VOLUMES:
        section.refuse("volumes", f"has more than {MAX_VOLUMES} volumes")
        return ()
    volumes = replace(section.inner("volumes", {}, VOLUMES), values=values)
    found = [_volume(volumes, key, instance) for key in sorted(values)]
    for one in (one for one in found if one and one.key in taken):
        volumes.refuse(one.key, "is the name of a device that it has already", "write another name")
    return tuple(one for one in found if one)


def _volume(volumes: Section, key: str, instance: str) -> VolumeSpec | None:
    try:
        IncusName.parse(key)
    except InvalidValue as error:
        volumes.refuse(key, f"the name of the volume {error.reason()}", "write a name such as data")
        return None
    values = volumes.mapping(key, "write a map with pool and path")
    if values is None:
        return None
    one = volumes.inner(key, values, VOLUME)
    pool, path = one.read("pool", IncusName.parse), one.read("path", _path)
    name = one.read("name", IncusName.parse)
    size, protect = one.read("size", parse_size), one.read("protect", flag)
    if pool is None or path is None:
        return None
    return VolumeSpec(
        key=key,
        name=name.text if name else f"{instance}-{key}",
        pool=pool.text,
        path=path,
        size=size or "",
        protect=protect is not False,
    )


def _path(text: str) -> str:
    if not _PATH.fullmatch(text) or ".." in text:
        msg = "is no absolute path"
        raise InvalidValue(msg)
    return text
