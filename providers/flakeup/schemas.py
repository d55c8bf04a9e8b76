"""The schemas of the resource types."""

from typing import Final

from ..sdk.schema import Field, Schema

POLICIES: Final = ("ignore", "rebuild", "replace")

_INCUS: Final = {
    "remote": Field(required=True, replaces=True, description="The remote's name in the client."),
    "project": Field(required=True, replaces=True, description="The Incus project."),
    "certificate": Field(description="SHA-256 of the server's certificate, if pinned."),
}
_MEMBER: Final = Field(description="The cluster member to create it on.")
_DOCKER: Final = {
    "host": Field(required=True, replaces=True, description="The daemon, as in DOCKER_HOST."),
}
_SERVICE: Final = Field(required=True, replaces=True, description="The service's name.")
_WAIT: Final = Field(kind="number", default=60.0, description="Seconds until it must be healthy.")

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
        "onImageChange": Field(
            default="ignore", choices=POLICIES, description="What another image does to it."
        ),
        "profiles": Field(kind="list", description="Its profiles, in order."),
        "config": Field(kind="map", description="Its own config keys."),
        "devices": Field(kind="map", items="any", description="Its own devices."),
        "member": _MEMBER,
        "running": Field(kind="boolean", default=True, description="Whether it should run."),
        "ssh": Field(
            kind="boolean", default=True, description="Whether to wait until sshd is reachable."
        ),
        "bootTimeout": Field(kind="integer", default=120.0, description="Seconds to boot in."),
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
        "pool": Field(required=True, replaces=True, description="The storage pool."),
        "name": Field(required=True, replaces=True, description="The volume's name."),
        "size": Field(description="Its size."),
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
        "service": _SERVICE,
        "image": Field(required=True, description="The image to run."),
        "command": Field(kind="list", description="The container's command."),
        "environment": Field(kind="map", description="Its environment variables."),
        "secrets": Field(kind="map", secret=True, description="Files in /run/secrets."),
        "network": Field(required=True, description="The network to run it in."),
        "ports": Field(kind="list", description="Host ports that must be free."),
        "user": Field(description="The user it runs as."),
        "readOnly": Field(kind="boolean", description="Whether its root is read-only."),
        "healthcheck": Field(kind="list", description="The health check's command."),
        "interval": Field(kind="number", default=2.0, description="Seconds between checks."),
        "wait": _WAIT,
    },
)
TRAFFIC: Final = Schema(
    token="flakeup:docker:Traffic",  # noqa: S106 a type, no password
    fields={
        **_DOCKER,
        "service": _SERVICE,
        "edge": Field(required=True, description="The edge's container."),
        "container": Field(required=True, description="The container that gets the traffic."),
        "ports": Field(kind="map", required=True, description="Container port by edge port."),
        "traffic": Field(default="http", choices=("http", "tcp"), description="The protocol."),
        "grace": Field(kind="number", default=10.0, description="Seconds to finish connections."),
        "wait": _WAIT,
    },
)
