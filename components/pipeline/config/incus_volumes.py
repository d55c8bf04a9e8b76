"""The volumes of an instance, and what names and sizes in Incus may look like."""

import re
from dataclasses import dataclass
from typing import Annotated, Final

from ..values import InvalidValue
from ..values.names import check_characters
from .schema import Key, Table
from .section import Section, is_too_large

MAX_VOLUMES: Final = 16
NAME_LIMITS: Final = "1 to 63 of `A-Z a-z 0-9 . _ -`; begins with a letter or digit"
SIZE_LIMITS: Final = "a whole number and `MiB`, `GiB`, `TiB`, `MB`, `GB` or `TB`"

_MAX_NAME: Final = 63
_SIZE: Final = re.compile(r"[1-9][0-9]{0,11}(?:[MGT]i?B)")
_PATH: Final = re.compile(r"/[A-Za-z0-9._/+@-]{1,199}")


def parse_name(text: str) -> str:
    """Parse the name of a remote, project, profile, network, pool or member.

    Raises:
        InvalidValue: it is not one.
    """
    check_characters(text, "A-Za-z0-9._-", limit=_MAX_NAME)
    if not text[0].isalnum():
        msg = "does not begin with a letter or digit"
        raise InvalidValue(msg)
    return text


def parse_size(text: str) -> str:
    """Parse a size such as `20GiB`, or raise InvalidValue."""
    if not _SIZE.fullmatch(text):
        msg = "is not a whole number with a unit"
        raise InvalidValue(msg)
    return text


def _parse_path(text: str) -> str:
    if not _PATH.fullmatch(text) or ".." in text:
        msg = "is not an absolute path"
        raise InvalidValue(msg)
    return text


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeSpec:
    """A volume of an instance as configured."""

    key: str
    """Its name in the config, and of its device."""
    pool: Annotated[
        str,
        Key(
            "Its storage pool.",
            takes="a storage pool's name",
            write="write the name of a pool that `incus storage list` shows, such as default",
            limits=NAME_LIMITS,
            parse=parse_name,
        ),
    ]
    path: Annotated[
        str,
        Key(
            "Where it is mounted in the instance.",
            takes="a path",
            write="write an absolute path, such as /var/lib/postgresql",
            limits="an absolute path, not `/`",
            parse=_parse_path,
        ),
    ]
    size: Annotated[
        str,
        Key(
            "Its size, which may grow.",
            takes="a size",
            write="write a size, such as 20GiB",
            limits=SIZE_LIMITS,
            otherwise="as large as the pool lets it be",
            parse=parse_size,
        ),
    ] = ""
    name: Annotated[
        str,
        Key(
            "Its name in the pool.",
            takes="a volume's name",
            write="write the name that it has in its pool, such as web1-data",
            limits=NAME_LIMITS,
            otherwise="the instance's name, `-` and its own",
            parse=parse_name,
        ),
    ]
    protect: Annotated[
        bool,
        Key(
            "Whether Pulumi refuses to delete it. To delete it with its data, set this to false "
            "and run `pulumi up` first."
        ),
    ] = True

    @property
    def device(self) -> dict[str, str]:
        """As a device of the instance."""
        return {"type": "disk", "pool": self.pool, "source": self.name, "path": self.path}


VOLUME: Final = Table(
    VolumeSpec,
    "A storage volume of the instance. It is created once, and kept when the root disk is "
    "recreated, when the instance is replaced, and when it is deleted.",
)


def read_volumes(section: Section, instance: str, taken: frozenset[str]) -> tuple[VolumeSpec, ...]:
    """Read the volumes of an instance; `taken` are the names of its other devices."""
    values = section.read_map("volumes")
    if values is None or is_too_large(section, "volumes", values, MAX_VOLUMES, "volumes"):
        return ()
    volumes = section.open("volumes", values)
    found = [_read_volume(volumes, key, instance) for key in sorted(values)]
    for one in (one for one in found if one and one.key in taken):
        volumes.reject(one.key, "is the name of another device", "write another name")
    return tuple(one for one in found if one)


def _read_volume(volumes: Section, key: str, instance: str) -> VolumeSpec | None:
    try:
        parse_name(key)
    except InvalidValue as error:
        volumes.reject(key, f"the name of the volume {error.reason()}", "write a name such as data")
        return None
    values = volumes.read_map(key, "write a map with pool and path")
    if values is None:
        return None
    fields = volumes.open(key, values, VOLUME).read_fields()
    if not {"pool", "path"} <= fields.keys():
        return None
    return VolumeSpec(**{"key": key, "name": f"{instance}-{key}", **fields})
