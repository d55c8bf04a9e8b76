"""The resources of our provider: images, instances and volumes on an Incus server."""

from collections.abc import Mapping
from typing import Final

import pulumi

from ..pipeline.config.incus import IncusSpec, TransportKind
from ..pipeline.config.incus_volumes import VolumeSpec
from .connection import ReportedEndpoint

IMAGE: Final = "flakeup:incus:Image"
INSTANCE: Final = "flakeup:incus:Instance"
VOLUME: Final = "flakeup:incus:Volume"


class Image(pulumi.CustomResource):
    """An image on a server; its fingerprint is known once both of its files are built."""

    fingerprint: pulumi.Output[str]

    def __init__(
        self, name: str, props: Mapping[str, object], opts: pulumi.ResourceOptions
    ) -> None:
        super().__init__(IMAGE, name, {**props, "fingerprint": None}, opts)


class Instance(pulumi.CustomResource):
    """An instance; it reports its address and its sshd's host key."""

    address: pulumi.Output[str]
    root: pulumi.Output[str]
    """Changes when the root disk is recreated."""
    uuid: pulumi.Output[str]
    """Given by Incus; it survives a rename."""

    def __init__(
        self, name: str, props: Mapping[str, object], opts: pulumi.ResourceOptions
    ) -> None:
        outputs = dict.fromkeys(("address", "hostKey", "madeFrom", "root", "uuid"))
        super().__init__(INSTANCE, name, {**props, **outputs}, opts)

    @property
    def host_key(self) -> pulumi.Output[str]:
        """Its sshd's ed25519 key."""
        key: pulumi.Output[str] = vars(self)["hostKey"]
        return key

    @property
    def endpoint(self) -> pulumi.Output[ReportedEndpoint | None]:
        """Its address and host key."""
        both = pulumi.Output.all(self.address, self.host_key)
        return both.apply(lambda pair: (str(pair[0]), str(pair[1])))


class Volume(pulumi.CustomResource):
    """A custom storage volume."""

    def __init__(
        self,
        name: str,
        spec: IncusSpec,
        volume: VolumeSpec,
        opts: pulumi.ResourceOptions,
        *,
        owner: pulumi.Input[str] | None = None,
    ) -> None:
        props = {
            **server_inputs(spec),
            "owner": owner,
            "pool": volume.pool,
            "name": volume.name,
            "size": volume.size or None,
            "member": spec.member or None,
        }
        super().__init__(VOLUME, name, props, opts)


def server_inputs(spec: IncusSpec) -> dict[str, str | None]:
    """The inputs that name the server and the project."""
    return {
        "remote": spec.remote,
        "project": spec.project,
        "certificate": spec.certificate or None,
    }


def instance_inputs(
    spec: IncusSpec, image: pulumi.Input[str], owner: pulumi.Input[str] | None = None
) -> dict[str, object]:
    """The inputs of an instance."""
    return {
        **server_inputs(spec),
        "owner": owner,
        "name": spec.name,
        "image": image,
        "onImageChange": spec.on_image_change.value,
        "profiles": list(spec.profiles),
        "config": spec.config,
        "devices": spec.devices,
        "member": spec.member or None,
        "running": True,
        "ssh": spec.transport is TransportKind.SSH,
        "bootTimeout": spec.boot_timeout.seconds,
    }
