"""What the resources take and give."""

from typing import Final

from ..sdk.fields import Field, Shape

CERTIFICATE: Final = Field(description="sha256 of the server's certificate, where it is pinned.")
POLICIES: Final = ("ignore", "rebuild", "replace")

IMAGE: Final = Shape(
    token="flakeup:incus:Image",  # noqa: S106 a type, no password
    fields={
        "remote": Field(required=True, replaces=True, description="The server's name here."),
        "project": Field(required=True, replaces=True, description="The project on it."),
        "certificate": CERTIFICATE,
        "metadata": Field(
            required=True, replaces=True, description="Store path of `system.build.metadata`."
        ),
        "rootfs": Field(
            required=True, replaces=True, description="Store path of `system.build.squashfs`."
        ),
        "system": Field(required=True, description="The attribute it is built from, for people."),
    },
    outputs={"fingerprint": Field(required=True, description="sha256 of both files together.")},
)
INSTANCE: Final = Shape(
    token="flakeup:incus:Instance",  # noqa: S106 a type, no password
    fields={
        "remote": Field(required=True, replaces=True, description="The server's name here."),
        "project": Field(required=True, replaces=True, description="The project on it."),
        "certificate": CERTIFICATE,
        "name": Field(required=True, description="Its name there; a new one renames it."),
        "image": Field(required=True, description="Fingerprint of the image it is made from."),
        "onImageChange": Field(
            default="ignore", choices=POLICIES, description="What another image means for it."
        ),
        "profiles": Field(kind="list", description="Its profiles, in their order."),
        "config": Field(kind="map", description="Its own config keys."),
        "devices": Field(kind="map", items="any", description="Its own devices."),
        "member": Field(description="The cluster's member that it is made on."),
        "running": Field(kind="boolean", default=True, description="Whether it is to run."),
        "ssh": Field(
            kind="boolean", default=True, description="Whether it is up only once ssh can reach it."
        ),
        "bootTimeout": Field(kind="integer", default=120.0, description="Seconds to come up."),
    },
    outputs={
        "address": Field(description="Where its sshd listens."),
        "hostKey": Field(description="Its sshd's ed25519 key, read through Incus."),
        "madeFrom": Field(description="Fingerprint of the image that its root was made from."),
        "root": Field(description="Changes when its root is made anew."),
        "uuid": Field(description="Its own, whatever its name is."),
    },
)
VOLUME: Final = Shape(
    token="flakeup:incus:Volume",  # noqa: S106 a type, no password
    fields={
        "remote": Field(required=True, replaces=True, description="The server's name here."),
        "project": Field(required=True, replaces=True, description="The project on it."),
        "certificate": CERTIFICATE,
        "pool": Field(required=True, replaces=True, description="The pool that it is in."),
        "name": Field(required=True, replaces=True, description="Its name there."),
        "size": Field(description="How large it is."),
        "member": Field(description="The cluster's member that it is made on."),
    },
)
DOCKER_IMAGE: Final = Shape(
    token="flakeup:docker:Image",  # noqa: S106 a type, no password
    fields={
        "host": Field(required=True, replaces=True, description="The daemon, as in DOCKER_HOST."),
        "ref": Field(required=True, replaces=True, description="Its name; the tag is its hash."),
        "built": Field(required=True, replaces=True, description="Store path of what nix builds."),
        "registry": Field(description="The address of the registry that it goes through."),
        "username": Field(secret=True, description="Who logs in there."),
        "password": Field(secret=True, description="Their password."),
    },
    outputs={
        "imageId": Field(description="Docker's own name for it."),
        "digest": Field(description="The digest of its manifest in the registry."),
    },
)
TRIAL: Final = Shape(
    token="flakeup:docker:Trial",  # noqa: S106 a type, no password
    fields={
        "host": Field(required=True, replaces=True, description="The daemon, as in DOCKER_HOST."),
        "service": Field(required=True, replaces=True, description="The service's name."),
        "image": Field(required=True, description="The image that is tried."),
        "command": Field(kind="list", description="What the container runs."),
        "environment": Field(kind="map", description="Its environment variables."),
        "secrets": Field(kind="map", secret=True, description="Files in /run/secrets."),
        "network": Field(required=True, description="The network that it is tried in."),
        "ports": Field(kind="list", description="Ports that nobody else may have."),
        "user": Field(description="Who it runs as."),
        "readOnly": Field(kind="boolean", description="Whether its root is read-only."),
        "healthcheck": Field(kind="list", description="What says in it whether it is well."),
        "interval": Field(kind="number", default=2.0, description="Seconds between two looks."),
        "wait": Field(kind="number", default=60.0, description="Seconds to become healthy."),
    },
)
TRAFFIC: Final = Shape(
    token="flakeup:docker:Traffic",  # noqa: S106 a type, no password
    fields={
        "host": Field(required=True, replaces=True, description="The daemon, as in DOCKER_HOST."),
        "service": Field(required=True, replaces=True, description="The service's name."),
        "edge": Field(required=True, description="The edge's container."),
        "container": Field(required=True, description="The name of the one that serves."),
        "ports": Field(kind="map", required=True, description="Port of the edge to its own."),
        "traffic": Field(default="http", choices=("http", "tcp"), description="What goes there."),
        "grace": Field(kind="number", default=10.0, description="Seconds for what is under way."),
        "wait": Field(kind="number", default=60.0, description="Seconds to become healthy."),
    },
)
