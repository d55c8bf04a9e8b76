"""An instance as configured: `incus` of the stack, and of the host over it."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final, Self

from ..targets.incus.ownership import PROTECTED, SERVERS_OWN
from ..values import Attr, Duration, InvalidValue
from ..values.names import check_characters
from .incus_fingerprints import check_fingerprints, read_fingerprints
from .incus_table import INCUS, INCUS_HOST
from .incus_volumes import IncusName, VolumeSpec, parse_size, read_volumes
from .section import Section, flag, one_of, time_of

NESTING: Final = {"security.nesting": "true"}
"""NixOS in a container needs it: credentials of units, the firewall, nix's sandbox."""
MAX_PROFILES: Final = 32
MAX_CONFIG: Final = 64
MAX_DEVICES: Final = 32
_MAX_NAME: Final = 63
_INSTANCE: Final = re.compile(r"[A-Za-z](?:[A-Za-z0-9-]*[A-Za-z0-9])?")
_KEY: Final = "A-Za-z0-9._-"
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


@dataclass(frozen=True, slots=True)
class InstanceName:
    """The name of an instance: part of its host name, as Incus has it."""

    text: str

    def __post_init__(self) -> None:
        check_characters(self.text, "A-Za-z0-9-", limit=_MAX_NAME)
        if not _INSTANCE.fullmatch(self.text):
            msg = "does not begin with a letter, or ends with '-'"
            raise InvalidValue(msg)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse a name, or raise InvalidValue."""
        return cls(text)


@dataclass(frozen=True, slots=True, kw_only=True)
class IncusSpec:
    """An instance as configured."""

    name: str = ""
    remote: str = INCUS["remote"].default
    project: str = INCUS["project"].default
    image: Attr | None = None
    """The system it is made from; None is the host's own."""
    on_image_change: OnImageChange = OnImageChange.IGNORE
    profiles: tuple[str, ...] = ("default",)
    network: str | None = None
    pool: str | None = None
    root_size: str | None = None
    own_config: Mapping[str, str] = field(default_factory=dict)
    own_devices: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    protect: bool = False
    transport: TransportKind = TransportKind.SSH
    boot_timeout: Duration = Duration(INCUS["bootTimeout"].default)  # noqa: RUF009 frozen
    fingerprints: Mapping[str, str] = field(default_factory=dict)
    """Of the servers' certificates, by remote."""
    member: str = ""
    volumes: tuple[VolumeSpec, ...] = ()
    """Sorted by their keys."""

    @property
    def certificate(self) -> str:
        """The fingerprint that the stack has pinned for its server; empty where it has none."""
        return self.fingerprints.get(self.remote, "")

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


def read_incus(parent: Section, base: IncusSpec) -> IncusSpec:
    """Read the stack's `incus` over `base`; where a key is refused, the rest is still looked at."""
    values = parent.mapping("incus")
    if values is None:
        return base
    section = parent.inner("incus", values, INCUS)
    return replace(_read(section, base), fingerprints=read_fingerprints(section))


def check_remotes(stack: Section, specs: Iterable[IncusSpec]) -> None:
    """Refuse a pin of a server that none of these instances is on."""
    remotes = [spec.remote for spec in specs]
    values = stack.silent().mapping("incus")
    if remotes and values is not None:
        check_fingerprints(stack.inner("incus", values, INCUS), remotes)


def read_instance(host: Section, name: str, base: IncusSpec) -> IncusSpec:
    """Read a host's `incus` over the stack's."""
    values = host.mapping("incus")
    section = host.inner("incus", values or {}, INCUS_HOST)
    spec = _read(section, base)
    own = section.read("name", InstanceName.parse)
    if own is None and "name" not in section.values:
        own = _named(host, name)
    member = section.read("member", IncusName.parse)
    made = replace(spec, name=own.text if own else name, member=member.text if member else "")
    taken = frozenset({_ROOT, _NIC, *made.own_devices})
    return replace(made, volumes=read_volumes(section, made.name, taken))


def _named(host: Section, name: str) -> InstanceName | None:
    try:
        return InstanceName.parse(name)
    except InvalidValue as error:
        why = f"cannot be its name in Incus too: it {error.reason()}"
        host.refuse("incus", f"{name} {why}", "write incus: {name: NAME} beside it")
        return None


def _read(section: Section, base: IncusSpec) -> IncusSpec:
    names = {key: section.read(key, IncusName.parse) for key in ("network", "pool")}
    texts = {key: name.text for key, name in names.items() if name}
    remote, project = (section.read(key, IncusName.parse) if key in section.values else None
                       for key in ("remote", "project"))  # fmt: skip
    size = section.read("rootSize", parse_size)
    timeout = time_of(INCUS["bootTimeout"])
    made = IncusSpec(
        name=base.name,
        remote=remote.text if remote else base.remote,
        project=project.text if project else base.project,
        image=section.read("image", Attr.parse, base.image),
        on_image_change=section.read("onImageChange", one_of(OnImageChange), base.on_image_change)
        or base.on_image_change,
        profiles=_profiles(section, base.profiles),
        network=texts.get("network", base.network),
        pool=texts.get("pool", base.pool),
        root_size=size or base.root_size,
        own_config={**base.own_config, **_texts(section, "config", MAX_CONFIG)},
        own_devices={**base.own_devices, **_devices(section)},
        protect=bool(section.read("protect", flag, base.protect)),
        transport=section.read("transport", one_of(TransportKind), base.transport)
        or base.transport,
        boot_timeout=section.read("bootTimeout", timeout, base.boot_timeout) or base.boot_timeout,
        fingerprints=base.fingerprints,
    )
    _check(section, made)
    return made


def _check(section: Section, made: IncusSpec) -> None:
    if "rootSize" in section.values and made.pool is None:
        section.refuse("rootSize", "needs a pool", "write the pool of its root beside it")
    for key, device, value in (("network", _NIC, made.network), ("pool", _ROOT, made.pool)):
        said_here = key in section.values or "devices" in section.values
        if said_here and value is not None and device in made.own_devices:
            remedy = f"write its {device} in one of the two places"
            section.refuse("devices", f"has {device}, which {key} makes already", remedy)
    for key in section.silent().mapping("config") or ():
        if key.startswith(SERVERS_OWN):
            remedy = "remove it: Incus or flakeup writes such keys itself"
            section.refuse("config", f"has the key {key}", remedy)


def _profiles(section: Section, base: tuple[str, ...]) -> tuple[str, ...]:
    value = section.values.get("profiles")
    if "profiles" not in section.values:
        return base
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        section.refuse("profiles", "is not a list of names")
        return base
    if len(value) > MAX_PROFILES:
        section.refuse("profiles", f"has more than {MAX_PROFILES} items")
        return base
    for one in value:
        try:
            IncusName.parse(one)
        except InvalidValue as error:
            section.refuse("profiles", f"has a name that {error.reason()}")
            return base
    return tuple(value)


def _texts(section: Section, name: str, most: int) -> dict[str, str]:
    values = section.mapping(name)
    if values is None:
        return {}
    if len(values) > most:
        section.refuse(name, f"has more than {most} keys")
        return {}
    return _pairs(section, name, values)


def _devices(section: Section) -> dict[str, dict[str, str]]:
    values = section.mapping("devices")
    if values is None:
        return {}
    if len(values) > MAX_DEVICES:
        section.refuse("devices", f"has more than {MAX_DEVICES} devices")
        return {}
    devices = {}
    for name, device in values.items():
        if not isinstance(device, Mapping) or not isinstance(device.get("type"), str):
            section.refuse("devices", f"has {name}, which is no map with a type")
            continue
        devices[name] = _pairs(section, "devices", device)
    return devices


def _pairs(section: Section, name: str, values: Mapping[str, object]) -> dict[str, str]:
    """Keys and texts in what the key `name` holds; the other ones are refused."""
    pairs = {}
    for key, text in values.items():
        try:
            check_characters(key, _KEY, limit=128)
        except InvalidValue as error:
            section.refuse(name, f"has a key that {error.reason()}")
            continue
        if not isinstance(text, str):
            section.refuse(name, f"has {key}, whose value is not text", "put that value in quotes")
        elif any(not char.isprintable() and char != "\n" for char in text):
            section.refuse(name, f"has {key}, whose value has a control character in it")
        else:
            pairs[key] = text
    return pairs
