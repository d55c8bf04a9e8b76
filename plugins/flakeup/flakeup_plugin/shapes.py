"""What the resources take and give."""

from typing import Final

from plugin_protocol.fields import Field, Shape

POLICIES: Final = ("ignore", "rebuild", "replace")

IMAGE: Final = Shape(
    token="flakeup:incus:Image",  # noqa: S106 a type, no password
    fields={
        "remote": Field(required=True, replaces=True, description="The server's name here."),
        "project": Field(required=True, replaces=True, description="The project on it."),
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
        "generation": Field(description="Changes when its root is made anew."),
    },
)
