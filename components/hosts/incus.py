"""`IncusImage` and `IncusHost`: containers that the program creates, and deploys to like any host.

An image is only the first content of an instance: a new release is copied and switched to, and
an existing instance keeps the image that it was created from unless the config says otherwise.
"""

from dataclasses import dataclass, replace
from typing import Final

import pulumi

from ..pipeline.config.incus import IncusSpec
from ..pipeline.config.incus_volumes import VolumeSpec
from ..pipeline.evaluate.attribute import ImageBuild
from ..stack.dependency import depends_even_if_failed, either, output_or
from .copy_hooks import BuildAndCopy
from .incus_resources import Image, Instance, Volume, instance_inputs, server_inputs
from .nixos import NixosHost, NixosHostArgs

BOOT_GRACE: Final = 600
"""Seconds in addition to `bootTimeout`, for creating an instance: unpacking, queues."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IncusImageArgs:
    """An image, and where to upload it."""

    build: ImageBuild
    spec: IncusSpec
    """The spec of an instance that uses the image: it names the server and the project."""
    owner: pulumi.Output[str]
    builder: BuildAndCopy
    after: pulumi.Input[pulumi.Resource]
    """What the upload waits for: the build."""


class IncusImage(pulumi.ComponentResource):
    """An image of the release on one server: built here, uploaded unless the server has it."""

    fingerprint: pulumi.Output[str]
    uploaded: pulumi.Input[pulumi.Resource]
    """The image, for `depends_on`."""

    def __init__(
        self, name: str, args: IncusImageArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("flakeup:index:IncusImage", name, {}, opts)
        self.build = args.build
        image = Image(
            name,
            {
                **server_inputs(args.spec),
                "owner": args.owner,
                "metadata": args.build.metadata.out_path.path,
                "rootfs": args.build.rootfs.out_path.path,
                "system": args.build.attr,
            },
            pulumi.ResourceOptions(
                parent=self, depends_on=[args.after], hooks=args.builder.build_hooks(name)
            ),
        )
        self.uploaded = depends_even_if_failed(image, name, self)
        self.fingerprint = output_or(image.fingerprint, "", self.uploaded)
        self.register_outputs({})


@dataclass(frozen=True, slots=True, kw_only=True)
class IncusHostArgs:
    """What an instance needs in addition to what every host needs."""

    image: IncusImage
    spec: IncusSpec
    owner: pulumi.Output[str]


class IncusHost(NixosHost):
    """A container that runs its toplevel: created once, then deployed to like any host."""

    kind = "IncusHost"

    def __init__(
        self,
        name: str,
        args: NixosHostArgs,
        incus: IncusHostArgs,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        self._incus = incus
        super().__init__(name, args, opts)
        # An instance that cannot be created says nothing about the release: others do not wait.
        self.copied = either(self._instance, self.copied, self)

    def _prepare(self, args: NixosHostArgs) -> NixosHostArgs:
        name, spec = args.plan.host.name, self._incus.spec
        volumes = [self._volume(name, spec, volume) for volume in spec.volumes]
        self._instance = instance = Instance(
            f"{name}-instance",
            instance_inputs(spec, self._incus.image.fingerprint, self._incus.owner),
            pulumi.ResourceOptions(
                parent=self,
                depends_on=[self._incus.image.uploaded, *volumes],
                protect=spec.protect,
                custom_timeouts=_timeouts(spec),
            ),
        )
        created = depends_even_if_failed(instance, f"{name}-instance", self)
        return replace(
            args,
            reported=output_or(instance.endpoint, None, created),
            uuid=output_or(instance.uuid, "", created),
            root=output_or(instance.root, "", created),
            after=(*args.after, created),
        )

    def _volume(
        self, host: str, spec: IncusSpec, volume: VolumeSpec
    ) -> pulumi.Input[pulumi.Resource]:
        name = f"{host}-{volume.key}"
        options = pulumi.ResourceOptions(parent=self, protect=volume.protect)
        created = Volume(name, spec, volume, options, owner=self._incus.owner)
        return depends_even_if_failed(created, name, self)


def image_name(attr: str, spec: IncusSpec) -> str:
    """The name of an image's resource: its attribute, and server and project unless default."""
    default = IncusSpec()
    places = ((spec.remote, default.remote), (spec.project, default.project))
    return "-".join((attr, "image", *(place for place, usual in places if place != usual)))


def _timeouts(spec: IncusSpec) -> pulumi.CustomTimeouts:
    seconds = f"{spec.boot_timeout.seconds + BOOT_GRACE}s"
    return pulumi.CustomTimeouts(create=seconds, update=seconds)
