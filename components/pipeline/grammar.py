"""Everything that a config's texts may be: the one place to import these values from.

Each has `.parse(text)`, which raises GrammarError (a ValueError) and nothing else.
"""

from components.pipeline.flake_url import FlakeKind, FlakeUrl
from components.pipeline.ssh_keys import HostKey, PrivateKey
from components.pipeline.words import (
    Attr,
    Duration,
    GrammarError,
    HostAddress,
    HostName,
    InputName,
    Port,
    Ref,
    Rev,
    StorePath,
    UserName,
)

__all__ = [
    "Attr",
    "Duration",
    "FlakeKind",
    "FlakeUrl",
    "GrammarError",
    "HostAddress",
    "HostKey",
    "HostName",
    "InputName",
    "Port",
    "PrivateKey",
    "Ref",
    "Rev",
    "StorePath",
    "UserName",
]
