"""What the two resources take and give, as tables.

The facts are those of the schema that pulumi-command 1.2.1 ships.
"""

from __future__ import annotations

from typing import Final

from providers.sdk.fields import Field, Shape

_LOGGING: Final = ("stdout", "stderr", "stdoutAndStderr", "none")
_OUTPUTS: Final = {"stdout": Field(required=True), "stderr": Field(required=True)}


def _endpoint() -> dict[str, Field]:
    return {
        "agentSocketPath": Field(),
        "dialErrorLimit": Field(kind="integer", default=10.0),
        "host": Field(required=True),
        "hostKey": Field(),
        "password": Field(secret=True),
        "perDialTimeout": Field(kind="integer", default=15.0),
        "port": Field(kind="number", default=22.0),
        "privateKey": Field(secret=True),
        "privateKeyPassword": Field(secret=True),
        "user": Field(default="root"),
    }


def _common(kind: str) -> dict[str, Field]:
    logging = Field(choices=_LOGGING, choices_token=f"command:{kind}:Logging", open_choices=True)
    return {
        "addPreviousOutputInEnv": Field(kind="boolean"),
        "create": Field(),
        "delete": Field(),
        "environment": Field(kind="map"),
        "logging": logging,
        "stdin": Field(),
        "triggers": Field(kind="list", items="any", replaces=True),
        "update": Field(),
    }


_PROXY: Final = Shape(
    token="command:remote:ProxyConnection",  # noqa: S106 a type, no password
    title="remote.ProxyConnection",
    fields=_endpoint(),
)
_CONNECTION: Final = Shape(
    token="command:remote:Connection",  # noqa: S106 a type, no password
    title="remote.Connection",
    fields={**_endpoint(), "proxy": Field(kind="object", of=_PROXY)},
)
REMOTE: Final = Shape(
    token="command:remote:Command",  # noqa: S106 a type, no password
    title="remote.CommandInputs",
    fields={
        **_common("remote"),
        "connection": Field(kind="object", of=_CONNECTION, required=True, secret=True),
    },
    outputs=_OUTPUTS,
)
LOCAL: Final = Shape(
    token="command:local:Command",  # noqa: S106 a type, no password
    title="local.CommandInputs",
    fields={
        **_common("local"),
        "archivePaths": Field(kind="list"),
        "assetPaths": Field(kind="list"),
        "dir": Field(),
        "interpreter": Field(kind="list"),
    },
    outputs=_OUTPUTS,
)
NOT_OFFERED: Final = frozenset({"archivePaths", "assetPaths"})
"""Inputs of the release that this plugin refuses: nothing here collects files."""
