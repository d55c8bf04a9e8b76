"""Everything that a config's texts may be: the one place to import these values from.

Each has `.parse(text)`, which raises InvalidValue (a ValueError) and nothing else.
"""

from .binary_cache import CacheKey, CacheUrl
from .flake_url import FlakeKind, FlakeUrl
from .names import (
    Attr,
    AttrPath,
    Duration,
    HostAddress,
    HostName,
    InputName,
    InvalidValue,
    Name,
    Port,
    Ref,
    Rev,
    StorePath,
    UserName,
)
from .owner import Owner
from .ssh_keys import HostKey, PrivateKey

__all__ = [
    "Attr",
    "AttrPath",
    "CacheKey",
    "CacheUrl",
    "Duration",
    "FlakeKind",
    "FlakeUrl",
    "HostAddress",
    "HostKey",
    "HostName",
    "InputName",
    "InvalidValue",
    "Name",
    "Owner",
    "Port",
    "PrivateKey",
    "Ref",
    "Rev",
    "StorePath",
    "UserName",
]
