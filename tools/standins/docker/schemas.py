"""The schemas of networks, volumes and the provider configuration, as in pulumi-docker 5.2.0."""

from __future__ import annotations

from typing import Final

from providers.sdk.schema import Field, Schema

from standins.docker.fields import immutable, labels, object_set

NETWORK: Final = Schema(
    token="docker:index/network:Network",  # noqa: S106 a type, no password
    fields={
        "attachable": immutable("boolean"),
        "driver": immutable(computed=True),
        "ingress": immutable("boolean"),
        "internal": immutable("boolean", computed=True),
        "ipamConfigs": object_set(
            "NetworkIpamConfig",
            {
                "auxAddress": Field(kind="map"),
                "gateway": Field(),
                "ipRange": Field(),
                "subnet": Field(),
            },
            computed=True,
        ),
        "ipamDriver": Field(default="default", replaces=True),
        "ipamOptions": immutable("map"),
        "ipv6": immutable("boolean"),
        "labels": labels("Network"),
        "name": immutable(),
        "options": immutable("map", computed=True),
    },
    outputs={"scope": Field(required=True)},
)
VOLUME: Final = Schema(
    token="docker:index/volume:Volume",  # noqa: S106 a type, no password
    fields={
        "cluster": Field(kind="map", items="any"),
        "driver": immutable(computed=True),
        "driverOpts": immutable("map"),
        "labels": labels("Volume"),
        "name": immutable(computed=True),
    },
    outputs={"mountpoint": Field(required=True)},
)
CONFIG: Final = Schema(
    token="docker:index:Provider",  # noqa: S106 a type, no password
    fields={
        "caMaterial": Field(),
        "certMaterial": Field(),
        "certPath": Field(),
        "context": Field(),
        "disableDockerDaemonCheck": Field(kind="boolean"),
        "host": Field(),
        "keyMaterial": Field(),
        "registryAuth": object_set(
            "ProviderRegistryAuth",
            {
                "address": Field(required=True),
                "authDisabled": Field(kind="boolean"),
                "configFile": Field(),
                "configFileContent": Field(),
                "password": Field(secret=True),
                "username": Field(),
            },
            replaces=False,
        ),
        "sshOpts": Field(kind="list"),
    },
)
