"""An instance of Incus: `incus` of the stack, and of the host over it."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from typing import Annotated, Any, Final, TypeVar

from ..values import Attr, Duration, InvalidValue
from ..values.names import check_characters
from .incus_fingerprints import check_fingerprints, read_fingerprints
from .incus_maps import (
    MAX_CONFIG,
    MAX_DEVICES,
    MAX_PROFILES,
    read_config,
    read_devices,
    read_profiles,
)
from .incus_volumes import (
    MAX_VOLUMES,
    NAME_LIMITS,
    SIZE_LIMITS,
    VolumeSpec,
    parse_name,
    parse_size,
    read_volumes,
)
from .schema import Key, Table
from .section import Section

PROTECTED: Final = "security.protection.delete"
"""Config key of an instance that Incus refuses to delete."""
RESERVED: Final = ("volatile.", "image.", "user.flakeup.")
"""Beginnings of config keys that the server, the image or flakeup writes: nobody else may."""
NESTING: Final = {"security.nesting": "true"}
"""NixOS in a container needs it: credentials of units, the firewall, nix's sandbox."""

_MAX_NAME: Final = 63
_INSTANCE: Final = re.compile(r"[A-Za-z](?:[A-Za-z0-9-]*[A-Za-z0-9])?")
_ROOT: Final = "root"
_NIC: Final = "eth0"


class OnImageChange(StrEnum):
    """What another image means for an instance that is there."""

    IGNORE = "ignore"
    REBUILD = "rebuild"
    REPLACE = "replace"


class TransportKind(StrEnum):
    """How an instance is deployed to."""

    SSH = "ssh"
    EXEC = "exec"


def parse_instance_name(text: str) -> str:
    """Parse the name of an instance, which is its host name too, or raise InvalidValue."""
    check_characters(text, "A-Za-z0-9-", limit=_MAX_NAME)
    if not _INSTANCE.fullmatch(text):
        msg = "does not begin with a letter, or ends with '-'"
        raise InvalidValue(msg)
    return text


@dataclass(frozen=True, slots=True, kw_only=True)
class _InstanceKeys:
    """What both a stack and a host may say of instances."""

    remote: Annotated[
        str,
        Key(
            "The server, by its name in the Incus client of whoever runs the program: `local` is "
            "the server on this machine; add others with `incus remote add`.",
            takes="a remote's name",
            write="write the name of a remote that `incus remote list` shows, such as local",
            limits=NAME_LIMITS,
            parse=parse_name,
        ),
    ] = "local"
    project: Annotated[
        str,
        Key(
            "The Incus project that instances and images are created in.",
            takes="a project's name",
            write="write the name of a project that `incus project list` shows, such as default",
            limits=NAME_LIMITS,
            parse=parse_name,
        ),
    ] = "default"
    image: Annotated[
        Attr | None,
        Key(
            "The system that new instances are created from: its `system.build.metadata` and "
            "`system.build.squashfs`. An image without the app is built and sent once for each "
            "change of the flake; one with the app, at every release.",
            takes="the name of a system",
            write=(
                "write the name of a system in nixosConfigurations, without quotes, such as "
                "incus-base"
            ),
            limits="as a host's `attr`",
            otherwise="the host's `attr`",
        ),
    ] = None
    on_image_change: Annotated[
        OnImageChange,
        Key(
            "What a new image does to an existing instance: nothing; recreate its root disk, and "
            "keep its name, address, devices and volumes; or recreate the instance."
        ),
    ] = OnImageChange.IGNORE
    profiles: Annotated[
        tuple[str, ...],
        Key(
            "Its profiles, in order.",
            takes="a list of profiles",
            write="write a list, such as profiles: [default]",
            limits=f"at most {MAX_PROFILES}; each {NAME_LIMITS}",
            otherwise="`[default]`",
            read=read_profiles,
        ),
    ] = ("default",)
    network: Annotated[
        str | None,
        Key(
            "The network of its eth0, whatever its profiles say.",
            takes="a network's name",
            write="write the name of a network that `incus network list` shows, such as incusbr0",
            limits=NAME_LIMITS,
            otherwise="as its profiles say",
            parse=parse_name,
        ),
    ] = None
    pool: Annotated[
        str | None,
        Key(
            "The storage pool of its root disk, whatever its profiles say.",
            takes="a storage pool's name",
            write="write the name of a pool that `incus storage list` shows, such as default",
            limits=NAME_LIMITS,
            otherwise="as its profiles say",
            parse=parse_name,
        ),
    ] = None
    root_size: Annotated[
        str | None,
        Key(
            "The size of its root disk.",
            takes="a size",
            write="write a size, such as 20GiB",
            limits=f"{SIZE_LIMITS}; requires `pool`",
            otherwise="as its profiles say",
            parse=parse_size,
        ),
    ] = None
    own_config: Annotated[
        Mapping[str, str],
        Key(
            "Its own config, as in `incus config set`. `security.nesting` is `true` unless it is "
            "set here: without it systemd's credentials, the firewall and Nix's sandbox do not "
            "work in a NixOS container.",
            name="config",
            takes="a map of texts",
            write='write a map, such as config: {limits.memory: 2GiB, limits.cpu: "2"}',
            limits=f"at most {MAX_CONFIG}; not `volatile.`, `image.` or `user.flakeup.`",
            read=read_config,
        ),
    ] = field(default_factory=dict)
    own_devices: Annotated[
        Mapping[str, Mapping[str, str]],
        Key(
            "Its own devices, as in `incus config device add`.",
            name="devices",
            takes="a map of devices",
            write="write a map, such as devices: {gpu: {type: gpu}}, with all values as text",
            limits=f"at most {MAX_DEVICES}; not `root` with `pool`, nor `eth0` with `network`",
            read=read_devices,
        ),
    ] = field(default_factory=dict)
    protect: Annotated[
        bool,
        Key(
            "Whether Incus and Pulumi both refuse to delete it (`security.protection.delete`). "
            "To delete it, set this to false and run `pulumi up` first."
        ),
    ] = False
    transport: Annotated[
        TransportKind,
        Key(
            "How it is deployed to: over `ssh` at the address that it reports, or by `incus "
            "exec`, which needs no network, no sshd and no key, and runs as root.",
            limits="no check from the deployer names `{address}` with `exec`",
        ),
    ] = TransportKind.SSH
    boot_timeout: Annotated[
        Duration,
        Key("How long it may take from its start until it can be deployed to.", most="1h"),
    ] = Duration("2m")


@dataclass(frozen=True, slots=True, kw_only=True)
class IncusDefaults(_InstanceKeys):
    """What the stack says of all its instances."""

    fingerprints: Annotated[
        Mapping[str, str],
        Key(
            "The SHA-256 fingerprints of the servers' certificates, by remote. Any other "
            "certificate is refused before anything is sent, whatever the local client has "
            "pinned under that name.",
            takes="a map of fingerprints",
            write=(
                "write the certificate_fingerprint that `incus info` on the server shows: 64 hex "
                "digits"
            ),
            limits="64 hex digits each; remotes that hosts are on, not `local`",
            read=read_fingerprints,
        ),
    ] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class IncusSpec(_InstanceKeys):
    """An instance as configured: the host's keys over the stack's."""

    name: Annotated[
        str,
        Key(
            "Its name in Incus. Another name renames the instance, which is stopped for it.",
            takes="an instance's name",
            write="write 1 to 63 letters, digits and '-', beginning with a letter",
            limits="1 to 63 of `A-Z a-z 0-9 -`; begins with a letter, ends with no `-`",
            otherwise="the host's name",
            parse=parse_instance_name,
        ),
    ] = ""
    volumes: Annotated[
        tuple[VolumeSpec, ...],
        Key(
            "Storage volumes that outlive its root disk.",
            takes="a map of volumes",
            write="write a map, such as volumes: {data: {pool: default, path: /var/lib/app}}",
            limits=f"see below; at most {MAX_VOLUMES}",
            each=VolumeSpec,
        ),
    ] = ()
    """Sorted by their keys."""
    member: Annotated[
        str,
        Key(
            "The cluster member that it is created on, with its volumes. An existing instance is "
            "not moved: another member is refused, with the command that moves it; one that was "
            "moved by hand, or evacuated, is left where it is.",
            takes="a cluster member's name",
            write="write the name of a member that `incus cluster list` shows",
            limits=NAME_LIMITS,
            otherwise="where its volumes are, else the server chooses",
            parse=parse_name,
        ),
    ] = ""
    certificate: str = ""
    """The fingerprint that the stack has pinned for its server, or empty."""

    @property
    def config(self) -> dict[str, str]:
        """The config keys that it is to have."""
        protection = {PROTECTED: "true"} if self.protect else {}
        return {**NESTING, **protection, **self.own_config}

    @property
    def devices(self) -> dict[str, dict[str, str]]:
        """The devices that it is to have itself, whatever its profiles add."""
        devices = {name: dict(device) for name, device in self.own_devices.items()}
        if self.network is not None:
            devices[_NIC] = {"type": "nic", "name": _NIC, "network": self.network}
        if self.pool is not None:
            size = {} if self.root_size is None else {"size": self.root_size}
            devices[_ROOT] = {"type": "disk", "path": "/", "pool": self.pool, **size}
        for volume in self.volumes:
            devices[volume.key] = volume.device
        return devices


Keys = TypeVar("Keys", bound=_InstanceKeys)

INCUS: Final = Table(
    IncusDefaults,
    "How Incus instances are created, for all hosts with `target: incus`. Each of them may have "
    "an `incus` of its own, whose keys take precedence (`config` and `devices` are merged key by "
    "key). They are containers: virtual machines are not supported.",
)
INCUS_HOST: Final = Table(
    IncusSpec, "In addition to the keys of the stack's `incus`, an instance has these of its own."
)


def read_incus(stack: Section) -> IncusDefaults:
    """Read the stack's `incus`; where a key has a problem, the rest is still read."""
    values = stack.read_map("incus")
    if values is None:
        return IncusDefaults()
    return _laid_over(IncusDefaults(), stack.open("incus", values, INCUS))


def check_remotes(stack: Section, specs: Iterable[IncusSpec]) -> None:
    """Reject a pinned certificate of a server that these instances do not use."""
    remotes = [spec.remote for spec in specs]
    values = stack.muted().read_map("incus")
    if remotes and values is not None:
        incus = stack.open("incus", values, INCUS)
        check_fingerprints(incus, INCUS["fingerprints"], remotes)


def read_instance(host: Section, name: str, stack: IncusDefaults) -> IncusSpec:
    """Read a host's `incus` over the stack's."""
    section = host.open("incus", host.read_map("incus") or {}, INCUS_HOST)
    shared: dict[str, Any] = {one.name: getattr(stack, one.name) for one in fields(_InstanceKeys)}
    spec = _laid_over(IncusSpec(name=name, **shared), section)
    if "name" not in section.values:
        _check_name(host, name)
    taken = frozenset({_ROOT, _NIC, *spec.own_devices})
    return replace(
        spec,
        volumes=read_volumes(section, spec.name, taken),
        certificate=stack.fingerprints.get(spec.remote, ""),
    )


def _check_name(host: Section, name: str) -> None:
    try:
        parse_instance_name(name)
    except InvalidValue as error:
        why = f"cannot be its name in Incus too: it {error.reason()}"
        remedy = f"add `incus: {{name: {_possible_name(name)}}}`"
        host.reject("incus", f"{name} {why}", remedy)


def _possible_name(host: str) -> str:
    """Give the name of a host as Incus can take it, or a placeholder."""
    name = re.sub(r"[^A-Za-z0-9]+", "-", host).strip("-")[:_MAX_NAME].rstrip("-")
    return name if _INSTANCE.fullmatch(name) else "NAME"


def _laid_over(base: Keys, section: Section) -> Keys:
    """Lay the keys of a section over `base`: `config` and `devices` key by key."""
    read = section.read_fields()
    for name in ("own_config", "own_devices"):
        read[name] = {**getattr(base, name), **read.get(name, {})}
    spec = replace(base, **read)
    _check(section, spec)
    return spec


def _check(section: Section, spec: _InstanceKeys) -> None:
    if "rootSize" in section.values and spec.pool is None:
        section.reject("rootSize", "requires `pool`", "add the pool of its root")
    for key, device, value in (("network", _NIC, spec.network), ("pool", _ROOT, spec.pool)):
        is_set_here = key in section.values or "devices" in section.values
        if is_set_here and value is not None and device in spec.own_devices:
            remedy = f"write its {device} in one of the two places"
            section.reject("devices", f"has {device}, which {key} creates already", remedy)
    for key in section.muted().read_map("config") or ():
        if key.startswith(RESERVED):
            remedy = "remove it: Incus or flakeup sets such keys itself"
            section.reject("config", f"has the key {key}", remedy)
