"""What networks, volumes and the provider take and give, as in pulumi-docker 5.2.0."""

from __future__ import annotations

from typing import Final

from providers.sdk.fields import Field, Shape

from standins.docker.kinds import fixed, labels, objects

NETWORK: Final = Shape(
    token="docker:index/network:Network",  # noqa: S106 a type, no password
    fields={
        "attachable": fixed("boolean"),
        "driver": fixed(computed=True),
        "ingress": fixed("boolean"),
        "internal": fixed("boolean", computed=True),
        "ipamConfigs": objects(
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
        "ipamOptions": fixed("map"),
        "ipv6": fixed("boolean"),
        "labels": labels("Network"),
        "name": fixed(),
        "options": fixed("map", computed=True),
    },
    outputs={"scope": Field(required=True)},
)
VOLUME: Final = Shape(
    token="docker:index/volume:Volume",  # noqa: S106 a type, no password
    fields={
        "cluster": Field(kind="map", items="any"),
        "driver": fixed(computed=True),
        "driverOpts": fixed("map"),
        "labels": labels("Volume"),
        "name": fixed(computed=True),
    },
    outputs={"mountpoint": Field(required=True)},
)
SETTINGS: Final = Shape(
    token="docker:index:Provider",  # noqa: S106 a type, no password
    fields={
        "caMaterial": Field(),
        "certMaterial": Field(),
        "certPath": Field(),
        "context": Field(),
        "disableDockerDaemonCheck": Field(kind="boolean"),
        "host": Field(),
        "keyMaterial": Field(),
        "registryAuth": objects(
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
