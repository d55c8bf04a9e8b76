"""What every transport can do: run commands on a host as root, and copy closures to it."""

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Protocol

from ..config.stack import HostSpec
from ..errors import HostError, ProcessError
from ..process.run import Argv
from ..values import StorePath


@dataclass(frozen=True, slots=True, kw_only=True)
class Store:
    """A store as `nix copy --to` takes it."""

    url: str
    environment: Mapping[str, str] = field(default_factory=dict)


class Transport(Protocol):
    """A way to reach a host."""

    @property
    def host(self) -> HostSpec:
        """The host that it reaches."""

    @property
    def address(self) -> str:
        """The host's address, for network checks; empty if it has none."""

    def argv(self, *remote: str) -> Argv:
        """The local command that runs `remote` on the host as root."""

    def explain(self, error: ProcessError) -> HostError:
        """The error for a failed command, as a message for a person."""

    def is_transport_failure(self, code: int | None) -> bool:
        """Whether an exit code is the transport's and not the remote command's."""

    def store(self) -> AbstractAsyncContextManager[Store]:
        """The host's store, usable inside the block."""

    def copy_command(self, build: StorePath, out: StorePath) -> str:
        """A shell command that builds a closure and copies it to the host."""

    def copied_marker(self, out: StorePath) -> PurePosixPath:
        """The file whose presence means that this run has copied `out` to the host."""


def copy_argv(host: HostSpec, url: str, build: StorePath) -> Argv:
    """The arguments of `nix` that copy the output of a derivation to a store.

    Unsigned paths are allowed: the transport is authenticated and already gives root. What the
    host fetches from a cache must still be signed.
    """
    substitute = ("--substitute-on-destination",) if host.substitute else ()
    return ("copy", "--no-check-sigs", *substitute, "--to", url, "--", f"{build.path}^out")
