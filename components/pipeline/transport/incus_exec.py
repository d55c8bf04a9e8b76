"""A host that only Incus can reach: commands, and its store, by way of `incus exec`.

Nothing has to listen in the instance, and no key is needed: who may talk to Incus is root there.
Incus kills a command whose client goes away; so here too what activates is a unit of the host's
own systemd, and the command only follows it.
"""

import shlex
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

from ..config.stack import HostSpec
from ..errors import HostError, ProcessError, UnreachableError, message
from ..process.run import Argv
from ..values import StorePath
from .incus_store import store
from .ssh import Store

CLIENT_FAILED: Final = 1
"""Exit code of the client where it, and not the command, has failed; also what a shell gives."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exec:
    """One instance by way of Incus's client."""

    host: HostSpec
    folder: PurePosixPath
    """Private, relative to the program's: where marks are kept."""

    @property
    def address(self) -> str:
        """Nothing leads there."""
        return ""

    @property
    def place(self) -> Argv:
        """The words that name the instance for `incus exec`."""
        incus = self.host.incus
        if incus is None:
            msg = f"{self.host.name} is no instance"
            raise ValueError(msg)
        return (f"{incus.remote}:{incus.name}", "--project", incus.project)

    def argv(self, *remote: str) -> Argv:
        """The local command that runs `remote` in the instance as root."""
        return ("incus", "exec", *self.place, "-T", "--", *remote)

    def explain(self, error: ProcessError) -> HostError:
        """What a failure of Incus's client, or of the command, means."""
        where = f"{self.host.name} ({self.place[0]}, project {self.place[-1]})"
        last = error.last_lines(1)
        if not self.is_transport_failure(error.code):
            remedy = "look at it: a full disk, its PATH, its shell"
            return HostError(message("the host could not run the command", where, last, remedy))
        remedy = f"check that the instance runs, and that `{shlex.join(self.argv('true'))}` works"
        return UnreachableError(message("cannot reach the host", where, last, remedy))

    def is_transport_failure(self, code: int | None) -> bool:
        """Whether the client has failed, or was ended."""
        return code is None or code < 0 or code == CLIENT_FAILED

    @asynccontextmanager
    async def store(self) -> AsyncIterator[Store]:
        """The instance's store, through a socket of ours."""
        async with store(self.argv) as url:
            yield Store(url=url)

    def copy_text(self, build: StorePath, out: StorePath) -> str:
        """All of the closure: a shell has no store to ask which paths are there."""
        realise = shlex.join(("nix-store", "--realise", build.path))
        query = shlex.join(("nix-store", "--query", "--requisites", out.path))
        imported = shlex.join(self.argv("nix-store", "--import"))
        return f"{{ {realise} && nix-store --export $({query}) | {imported}; }} > /dev/null"

    def copied_marker(self, out: StorePath) -> PurePosixPath:
        """The file that says, within one run, that `out` has been copied to the host."""
        return self.folder / f"copied-{self.host.name}-{out.digest}"
