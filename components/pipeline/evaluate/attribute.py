"""What is evaluated: attributes of a flake, of three kinds, and what evaluation makes of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal, assert_never

from ..values import Attr, AttrPath, InvalidValue, StorePath

_SYSTEMS = "nixosConfigurations"
_BUILD = ".config.system.build."
# `out` is what is built, also where it is not the first of several outputs.
_PATHS = (
    "path: { drv = path.drvPath or null; out = path.out.outPath or path.outPath or null;"
    " outputs = path.outputs or [ ]; }"
)


@dataclass(frozen=True, slots=True)
class HostSystem:
    """A host's toplevel, and the activation settings that its own config has."""

    kind: ClassVar[Literal["host"]] = "host"
    attr: Attr

    @property
    def name(self) -> str:
        """The attribute as the config names it."""
        return self.attr.text

    @property
    def path(self) -> AttrPath:
        """Its path below the output: one name."""
        return AttrPath((self.attr,))


@dataclass(frozen=True, slots=True)
class IncusImage:
    """Both parts of an Incus image, as NixOS's lxc-container.nix names them."""

    kind: ClassVar[Literal["image"]] = "image"
    attr: Attr

    @property
    def name(self) -> str:
        """The attribute as the config names it."""
        return self.attr.text

    @property
    def path(self) -> AttrPath:
        """Its path below the output: one name."""
        return AttrPath((self.attr,))


@dataclass(frozen=True, slots=True)
class ServiceImage:
    """A package that is the image of a service."""

    kind: ClassVar[Literal["service"]] = "service"
    system: str
    """Such as `x86_64-linux`."""
    path: AttrPath

    @property
    def name(self) -> str:
        """The attribute as the config names it."""
        return self.path.text


Attribute = HostSystem | IncusImage | ServiceImage


def attrset(attribute: Attribute) -> str:
    """The flake output that contains the attribute, as nix writes it."""
    match attribute:
        case HostSystem() | IncusImage():
            return _SYSTEMS
        case ServiceImage(system=system):
            return f'packages."{system}"'
        case _:
            assert_never(attribute)


def builds(attribute: Attribute) -> tuple[str, ...]:
    """The derivations of the attribute, as paths below it."""
    match attribute:
        case HostSystem():
            return (f"{_BUILD}toplevel",)
        case IncusImage():
            return (f"{_BUILD}metadata", f"{_BUILD}squashfs")
        case ServiceImage():
            return ("",)
        case _:
            assert_never(attribute)


def config_key(attribute: Attribute) -> str:
    """The config key that names the attribute, for messages."""
    match attribute:
        case HostSystem():
            return "`attr` of the host"
        case IncusImage():
            return "`image` of `incus`"
        case ServiceImage():
            return "`image` of the service"
        case _:
            assert_never(attribute)


def display_path(attribute: Attribute) -> str:
    """The attribute as people write it: `packages.x86_64-linux.app`."""
    return f"{attrset(attribute).replace(chr(34), '')}.{attribute.path.text}"


def installable(attribute: Attribute, url: str) -> str:
    """The attribute as a nix installable."""
    return f"{url}#{_nested(attribute, attribute.path.parts)}"


def siblings(attribute: Attribute, url: str) -> str:
    """What holds the attribute by its last name, as a nix installable."""
    return f"{url}#{_nested(attribute, attribute.path.parts[:-1])}"


def next_to(attribute: Attribute, other: str) -> str:
    """The attribute with another last name, as the config names it."""
    if not isinstance(attribute, ServiceImage):
        return other
    *parents, _ = attribute.path.parts
    try:
        return AttrPath((*parents, Attr.parse(other))).text
    except InvalidValue:
        return other


def _nested(attribute: Attribute, parts: tuple[Attr, ...]) -> str:
    return ".".join((attrset(attribute), *(f'"{part.text}"' for part in parts)))


def expression(attribute: Attribute) -> str:
    """A function for `nix eval --apply`: gives `builds` (`drv` and `out` each) and `activation`."""
    paths = " ".join(f"(it{path})" for path in builds(attribute))
    is_host = isinstance(attribute, HostSystem)
    activation = "it.config.flakeup.activation or { }" if is_host else "{ }"
    return f"it: {{ builds = map ({_PATHS}) [ {paths} ]; activation = {activation}; }}"


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluatedAttr:
    """A derivation of an attribute, and the store path that it builds."""

    attr: str
    drv_path: StorePath
    out_path: StorePath
    activation: Mapping[str, object] = field(default_factory=dict, hash=False)
    """The activation settings of a host's own config: `config.flakeup.activation`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageBuild:
    """The two parts of an Incus image of one system, each of them a derivation."""

    attr: str
    metadata: EvaluatedAttr
    rootfs: EvaluatedAttr

    @property
    def parts(self) -> tuple[EvaluatedAttr, EvaluatedAttr]:
        """Both, for the build."""
        return self.metadata, self.rootfs
