"""What is evaluated: an attribute of a flake, and which of its derivations."""

from dataclasses import dataclass

_BUILD = ".config.system.build."


@dataclass(frozen=True, slots=True)
class Attribute:
    """An attribute by its name, in one of the flake's sets; `builds` are paths within it."""

    home: str
    """`nixosConfigurations`, or `packages."x86_64-linux"`."""
    name: str
    builds: tuple[str, ...]

    @classmethod
    def toplevel(cls, name: str) -> "Attribute":
        """The system of a host."""
        return cls("nixosConfigurations", name, (f"{_BUILD}toplevel",))

    @classmethod
    def container(cls, name: str) -> "Attribute":
        """Both parts of an Incus image, as NixOS's lxc-container.nix names them."""
        return cls("nixosConfigurations", name, (f"{_BUILD}metadata", f"{_BUILD}squashfs"))

    @classmethod
    def package(cls, system: str, name: str) -> "Attribute":
        """A package for one kind of processor."""
        return cls(f'packages."{system}"', name, ("",))

    @property
    def path(self) -> str:
        """As people write it."""
        return f"{self.home.replace(chr(34), '')}.{self.name}"

    def installables(self, url: str) -> tuple[str, ...]:
        """Its derivations, as nix names them."""
        return tuple(f'{url}#{self.home}."{self.name}"{build}' for build in self.builds)
