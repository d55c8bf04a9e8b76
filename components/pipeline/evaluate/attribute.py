"""What is evaluated: an attribute of a flake, and which of its derivations."""

from dataclasses import dataclass

_BUILD = ".config.system.build."
_OF_PATH = "path: { drv = path.drvPath; out = path.outPath; }"


@dataclass(frozen=True, slots=True)
class Attribute:
    """An attribute by its name, in one of the flake's sets; `builds` are paths within it."""

    home: str
    """`nixosConfigurations`, or `packages."x86_64-linux"`."""
    name: str
    builds: tuple[str, ...]
    data: str = ""
    """A path within it to what is no derivation, and may be missing."""

    @classmethod
    def toplevel(cls, name: str) -> "Attribute":
        """The system of a host, and what it says itself of how it is switched."""
        data = ".config.flakeup.activation"
        return cls("nixosConfigurations", name, (f"{_BUILD}toplevel",), data)

    @classmethod
    def container(cls, name: str) -> "Attribute":
        """Both parts of an Incus image, as NixOS's lxc-container.nix names them."""
        return cls("nixosConfigurations", name, (f"{_BUILD}metadata", f"{_BUILD}squashfs"))

    @classmethod
    def package(cls, system: str, name: str) -> "Attribute":
        """A package for one kind of processor."""
        return cls(f'packages."{system}"', name, ("",))

    @property
    def what(self) -> str:
        """What it is for, in one word: a service, an image or a host."""
        if self.home != "nixosConfigurations":
            return "service"
        return "image" if len(self.builds) > 1 else "host"

    @property
    def path(self) -> str:
        """As people write it."""
        return f"{self.home.replace(chr(34), '')}.{self.name}"

    @property
    def expression(self) -> str:
        """A function for `nix eval --apply`: to `builds` (`drv` and `out`) and `data`."""
        builds = " ".join(f"(it{build})" for build in self.builds)
        data = f"it{self.data} or {{ }}" if self.data else "{ }"
        return f"it: {{ builds = map ({_OF_PATH}) [ {builds} ]; data = {data}; }}"

    def installable(self, url: str) -> str:
        """The attribute as nix names it."""
        return f'{url}#{self.home}."{self.name}"'
