"""The schemas of the resource types.

An input that passes on a key of the stack's config has its type, default and meaning from there.
"""

from collections.abc import Mapping
from dataclasses import replace
from enum import StrEnum
from typing import Any, Final, get_args, get_origin

from components.pipeline.config.incus import INCUS_HOST
from components.pipeline.config.incus_volumes import VOLUME as CONFIG_VOLUME
from components.pipeline.config.schema import Key
from components.pipeline.config.services import SERVICE
from components.pipeline.values import Duration

from ..sdk.schema import Field, Kind, Schema


def seconds(key: Key) -> float:
    """The default of a time in the config."""
    return float(Duration(key.default).seconds)


def _from_config(key: Key, **changes: Any) -> Field:
    """The input that passes on a key of the config: its kind, choices, default and meaning."""
    field = Field(kind=_kind(key.value_type), description=key.meaning)
    if key.value_type is Duration:
        field = replace(field, default=seconds(key), description=f"In seconds. {key.meaning}")
    elif field.kind == "map" and get_origin(get_args(key.value_type)[1]):
        field = replace(field, items="any")
    elif isinstance(key.value_type, type) and issubclass(key.value_type, StrEnum):
        field = replace(
            field, default=key.default, choices=tuple(one.value for one in key.value_type)
        )
    return replace(field, **changes)


def _kind(declared: Any) -> Kind:
    if origin := get_origin(declared):
        return "map" if issubclass(origin, Mapping) else "list"
    return {bool: "boolean", Duration: "number"}.get(declared, "string")  # type: ignore[return-value]


BOOT_TIMEOUT: Final = seconds(INCUS_HOST["bootTimeout"])
INTERVAL: Final = seconds(SERVICE["healthInterval"])
WAIT: Final = seconds(SERVICE["wait"])
GRACE: Final = seconds(SERVICE["grace"])

_OWNER: Final = Field(description="The owner that the stack's state has: PROJECT/STACK/ID.")
_INCUS: Final = {
    "owner": _OWNER,
    "remote": Field(required=True, replaces=True, description="The remote's name in the client."),
    "project": Field(required=True, replaces=True, description="The Incus project."),
    "certificate": Field(description="SHA-256 of the server's certificate, if pinned."),
}
_MEMBER: Final = _from_config(INCUS_HOST["member"])
_DOCKER: Final = {
    "host": Field(required=True, replaces=True, description="The daemon, as in DOCKER_HOST."),
}
_SERVICE: Final = Field(required=True, replaces=True, description="The service's name.")
_WAIT: Final = _from_config(SERVICE["wait"])

IMAGE: Final = Schema(
    token="flakeup:incus:Image",  # noqa: S106 a type, no password
    fields={
        **_INCUS,
        "metadata": Field(
            required=True, replaces=True, description="Store path of `system.build.metadata`."
        ),
        "rootfs": Field(
            required=True, replaces=True, description="Store path of `system.build.squashfs`."
        ),
        "system": Field(required=True, description="The attribute it is built from, as a label."),
    },
    outputs={"fingerprint": Field(required=True, description="SHA-256 of both files together.")},
)
INSTANCE: Final = Schema(
    token="flakeup:incus:Instance",  # noqa: S106 a type, no password
    fields={
        **_INCUS,
        "name": Field(required=True, description="The instance's name; another one renames it."),
        "image": Field(required=True, description="Fingerprint of the image to create it from."),
        "onImageChange": _from_config(INCUS_HOST["onImageChange"]),
        "profiles": _from_config(INCUS_HOST["profiles"]),
        "config": _from_config(INCUS_HOST["config"]),
        "devices": _from_config(INCUS_HOST["devices"]),
        "member": _MEMBER,
        "running": Field(kind="boolean", default=True, description="Whether it should run."),
        "ssh": Field(
            kind="boolean", default=True, description="Whether to wait until sshd is reachable."
        ),
        "bootTimeout": _from_config(INCUS_HOST["bootTimeout"], kind="integer"),
    },
    outputs={
        "address": Field(description="The address on which its sshd listens."),
        "hostKey": Field(description="The ed25519 host key of its sshd, read through Incus."),
        "madeFrom": Field(description="Fingerprint of the image its root was created from."),
        "root": Field(description="Changes when its root disk is recreated."),
        "uuid": Field(description="Its UUID, which survives a rename."),
    },
)
VOLUME: Final = Schema(
    token="flakeup:incus:Volume",  # noqa: S106 a type, no password
    fields={
        **_INCUS,
        "pool": _from_config(CONFIG_VOLUME["pool"], required=True, replaces=True),
        "name": _from_config(CONFIG_VOLUME["name"], required=True, replaces=True),
        "size": _from_config(CONFIG_VOLUME["size"]),
        "member": _MEMBER,
    },
)
DOCKER_IMAGE: Final = Schema(
    token="flakeup:docker:Image",  # noqa: S106 a type, no password
    fields={
        **_DOCKER,
        "ref": Field(required=True, replaces=True, description="Its name and content hash."),
        "built": Field(required=True, replaces=True, description="Store path of the image."),
        "registry": Field(description="The registry to push to and pull from."),
        "username": Field(secret=True, description="The user name for the registry."),
        "password": Field(secret=True, description="The password for the registry."),
    },
    outputs={
        "imageId": Field(description="Docker's ID of the image."),
        "digest": Field(description="The digest of its manifest in the registry."),
    },
)
CANDIDATE: Final = Schema(
    token="flakeup:docker:Candidate",  # noqa: S106 a type, no password
    fields={
        **_DOCKER,
        "owner": _OWNER,
        "service": _SERVICE,
        "image": Field(required=True, description="The image to run."),
        "command": _from_config(SERVICE["command"]),
        "environment": _from_config(SERVICE["env"]),
        "secrets": _from_config(SERVICE["secrets"], secret=True),
        "network": Field(required=True, description="The network to run it in."),
        "ports": Field(kind="list", description="Host ports that must be free."),
        "user": _from_config(SERVICE["user"]),
        "readOnly": _from_config(SERVICE["readOnly"]),
        "healthcheck": _from_config(SERVICE["healthcheck"]),
        "interval": _from_config(SERVICE["healthInterval"]),
        "wait": _WAIT,
    },
)
TRAFFIC: Final = Schema(
    token="flakeup:docker:Traffic",  # noqa: S106 a type, no password
    fields={
        **_DOCKER,
        "owner": _OWNER,
        "service": _SERVICE,
        "edge": Field(required=True, description="The edge's container."),
        "container": Field(required=True, description="The container that gets the traffic."),
        "ports": Field(kind="map", required=True, description="Container port by edge port."),
        "traffic": _from_config(SERVICE["traffic"]),
        "grace": _from_config(SERVICE["grace"]),
        "wait": _WAIT,
    },
)
