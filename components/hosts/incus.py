"""`IncusImage` and `IncusHost`: containers that the program makes, and deploys to as to any host.

The image is only where an instance begins: a new release is copied and switched to, and the
image of an instance that is there never changes by itself.
"""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any, Final

import pulumi

from ..pipeline.config.incus import IncusSpec, TransportKind
from ..pipeline.config.incus_volumes import VolumeSpec
from ..pipeline.config.stack import Endpoint, HostSpec
from ..pipeline.errors import HostError, UnreachableError
from ..pipeline.evaluate.attribute import ImageBuild
from ..pipeline.targets.incus.ownership import Owner
from ..pipeline.transport import ssh
from ..pipeline.transport.incus_exec import IncusExec
from ..pipeline.transport.ssh import Ssh, SshFiles
from ..pipeline.transport.transport import Transport
from ..pipeline.values import HostAddress, HostKey, InvalidValue
from ..stack.dependency import depends_even_if_failed, either, output_or
from .connection import ReportedEndpoint
from .copy_hooks import BuildAndCopy
from .nixos import NixosHost, NixosHostArgs

IMAGE: Final = "flakeup:incus:Image"
INSTANCE: Final = "flakeup:incus:Instance"
VOLUME: Final = "flakeup:incus:Volume"
OBSERVE: Final = "flakeup:incus:observe"
BOOT_GRACE: Final = 600
"""Seconds beside `bootTimeout`, for making it: an image is unpacked, a queue waited for."""


class Image(pulumi.CustomResource):
    """An image on a server; its fingerprint is known once both of its files are built."""

    fingerprint: pulumi.Output[str]

    def __init__(
        self, name: str, props: Mapping[str, object], opts: pulumi.ResourceOptions
    ) -> None:
        super().__init__(IMAGE, name, {**props, "fingerprint": None}, opts)


class Instance(pulumi.CustomResource):
    """An instance; it says where it is and which key its sshd has."""

    address: pulumi.Output[str]
    root: pulumi.Output[str]
    """Changes when its root is made anew."""

    def __init__(
        self, name: str, props: Mapping[str, object], opts: pulumi.ResourceOptions
    ) -> None:
        said = dict.fromkeys(("address", "hostKey", "madeFrom", "root", "uuid"))
        super().__init__(INSTANCE, name, {**props, **said}, opts)

    @property
    def host_key(self) -> pulumi.Output[str]:
        """Its sshd's ed25519 key."""
        said: pulumi.Output[str] = vars(self)["hostKey"]
        return said

    @property
    def endpoint(self) -> pulumi.Output[ReportedEndpoint | None]:
        """Its address and host key."""
        both = pulumi.Output.all(self.address, self.host_key)
        return both.apply(lambda pair: (str(pair[0]), str(pair[1])))


@dataclass(frozen=True, slots=True, kw_only=True)
class IncusImageArgs:
    """An image, and where it is to be."""

    build: ImageBuild
    spec: IncusSpec
    """Of an instance that is made from it: which server, and which project."""
    builder: BuildAndCopy
    after: pulumi.Input[pulumi.Resource]
    """What has to be done before it is sent: the build."""


class IncusImage(pulumi.ComponentResource):
    """An image of the release on one server: built here, sent where it is not there already."""

    fingerprint: pulumi.Output[str]
    sent: pulumi.Input[pulumi.Resource]
    """For those who are made from it."""

    def __init__(
        self, name: str, args: IncusImageArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("flakeup:index:IncusImage", name, {}, opts)
        self.build = args.build
        image = Image(
            name,
            {
                **place(args.spec),
                "metadata": args.build.metadata.out_path.path,
                "rootfs": args.build.rootfs.out_path.path,
                "system": args.build.attr,
            },
            pulumi.ResourceOptions(
                parent=self, depends_on=[args.after], hooks=args.builder.build_hooks(name)
            ),
        )
        self.sent = depends_even_if_failed(image, name, self)
        self.fingerprint = output_or(image.fingerprint, "", self.sent)
        self.register_outputs({})


@dataclass(frozen=True, slots=True, kw_only=True)
class IncusHostArgs:
    """What an instance needs in addition to what every host needs."""

    image: IncusImage
    spec: IncusSpec


class IncusHost(NixosHost):
    """A container on its toplevel: made once, then deployed to over ssh."""

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
        # One that cannot be made says nothing about the release: the others need not wait for it.
        self.copied = either(self._instance, self.copied, self)

    def _prepare(self, args: NixosHostArgs) -> NixosHostArgs:
        name, spec = args.plan.host.name, self._incus.spec
        volumes = [self._volume(name, spec, volume) for volume in spec.volumes]
        self._instance = instance = Instance(
            f"{name}-instance",
            properties(spec, self._incus.image.fingerprint),
            pulumi.ResourceOptions(
                parent=self,
                depends_on=[self._incus.image.sent, *volumes],
                protect=spec.protect,
                custom_timeouts=_timeouts(spec),
            ),
        )
        made = depends_even_if_failed(instance, f"{name}-instance", self)
        return replace(
            args,
            reported=output_or(instance.endpoint, None, made),
            root=output_or(instance.root, "", made),
            after=(*args.after, made),
        )

    def _volume(
        self, host: str, spec: IncusSpec, volume: VolumeSpec
    ) -> pulumi.Input[pulumi.Resource]:
        """A volume, which goes with nothing and nobody unless that is asked for."""
        options = pulumi.ResourceOptions(parent=self, protect=volume.protect)
        made = Volume(f"{host}-{volume.key}", spec, volume, options)
        return depends_even_if_failed(made, f"{host}-{volume.key}", self)


class Volume(pulumi.CustomResource):
    """A volume, whose outputs nobody reads."""

    def __init__(
        self, name: str, spec: IncusSpec, volume: VolumeSpec, opts: pulumi.ResourceOptions
    ) -> None:
        props = {
            **place(spec),
            "pool": volume.pool,
            "name": volume.name,
            "size": volume.size or None,
            "member": spec.member or None,
        }
        super().__init__(VOLUME, name, props, opts)


def image_name(attr: str, spec: IncusSpec) -> str:
    """The name of an image's resource: the system's, and where it is but on the usual server."""
    plain = IncusSpec()
    places = ((spec.remote, plain.remote), (spec.project, plain.project))
    return "-".join((attr, "image", *(place for place, usual in places if place != usual)))


def place(spec: IncusSpec) -> dict[str, str | None]:
    """The inputs that say which server is meant, and which project on it."""
    pinned = spec.certificate or None
    return {"remote": spec.remote, "project": spec.project, "certificate": pinned}


def properties(spec: IncusSpec, image: pulumi.Input[str]) -> dict[str, object]:
    """The inputs of an instance."""
    return {
        **place(spec),
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


def _timeouts(spec: IncusSpec) -> pulumi.CustomTimeouts:
    seconds = f"{spec.boot_timeout.seconds + BOOT_GRACE}s"
    return pulumi.CustomTimeouts(create=seconds, update=seconds)


async def transports(
    hosts: Iterable[HostSpec], files: SshFiles
) -> tuple[tuple[Transport, ...], Mapping[str, HostError]]:
    """The transports to the hosts that exist, for a preview; and errors, by host.

    One request per project lists its instances, whatever their number. The errors are those of
    servers that could not be asked.
    """
    hosts = tuple(hosts)
    places = {(one.incus.remote, one.incus.project): one.incus for one in hosts if one.incus}
    answers = dict(zip(places, await asyncio.gather(*map(_ask, places.values())), strict=True))
    found: list[Transport] = []
    troubles: dict[str, HostError] = {}
    for host in hosts:
        if host.incus is None:
            found.append(Ssh.of(host, files))
            continue
        answer = answers[host.incus.remote, host.incus.project]
        if isinstance(answer, HostError):
            troubles[host.name] = answer
            continue
        said = answer.get(host.incus.name)
        if said and said.get("trouble"):
            troubles[host.name] = UnreachableError(said["trouble"])
        elif transport := _transport(host, host.incus, said, files):
            found.append(transport)
    return tuple(found), troubles


def _transport(
    host: HostSpec, spec: IncusSpec, said: Mapping[str, Any] | None, files: SshFiles
) -> Transport | None:
    """The transport to a running instance of this stack; never to another stack's."""
    owner = Owner(f"{pulumi.get_project()}/{pulumi.get_stack()}")
    if said is None or said["owner"] != owner.text or not said["running"]:
        return None
    if spec.transport is TransportKind.EXEC:
        return IncusExec(host=host, folder=PurePosixPath(files.known_hosts.parent))
    endpoint = _endpoint(said)
    return ssh.pin(files, host, endpoint) if endpoint else None


async def _ask(spec: IncusSpec) -> Mapping[str, Mapping[str, Any]] | HostError:
    # Not ended with us, where the program fails beside it: the SDK would show its traceback.
    asking = asyncio.ensure_future(pulumi.runtime.invoke_async(OBSERVE, place(spec)))
    asking.add_done_callback(lambda it: it.cancelled() or it.exception())
    try:
        answer = await asyncio.shield(asking)
    except Exception as error:  # noqa: BLE001 the SDK raises a bare one around the plugin's text
        return UnreachableError(str(error).rpartition(" returned an error: ")[2])
    instances: Mapping[str, Mapping[str, Any]] = answer["instances"]
    return instances


def _endpoint(said: Mapping[str, Any]) -> Endpoint | None:
    try:
        return Endpoint(
            address=HostAddress.parse(said["address"] or ""),
            host_key=HostKey.parse(said["hostKey"] or ""),
        )
    except InvalidValue:
        return None
