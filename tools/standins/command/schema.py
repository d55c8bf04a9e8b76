"""The schemas of the two resource types, as in pulumi-command 1.2.1."""

from __future__ import annotations

from typing import Final

from providers.sdk.schema import Field, Schema

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


_PROXY: Final = Schema(
    token="command:remote:ProxyConnection",  # noqa: S106 a type, no password
    title="remote.ProxyConnection",
    fields=_endpoint(),
)
_CONNECTION: Final = Schema(
    token="command:remote:Connection",  # noqa: S106 a type, no password
    title="remote.Connection",
    fields={**_endpoint(), "proxy": Field(kind="object", of=_PROXY)},
)
REMOTE: Final = Schema(
    token="command:remote:Command",  # noqa: S106 a type, no password
    title="remote.CommandInputs",
    fields={
        **_common("remote"),
        "connection": Field(kind="object", of=_CONNECTION, required=True, secret=True),
    },
    outputs=_OUTPUTS,
)
LOCAL: Final = Schema(
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
UNSUPPORTED: Final = frozenset({"archivePaths", "assetPaths"})
"""Inputs of the released plugin that the stand-in does not support."""
