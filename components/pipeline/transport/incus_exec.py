"""Instances through `incus exec`: commands, and the Nix store.

Nothing has to listen in the instance and no key is needed: whoever may use Incus is root there.
Incus kills a command whose client disconnects, so here too a unit of the host's own systemd does
the activation, and the command only follows it.
"""

import shlex
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

from ..config.stack import HostSpec
from ..errors import HostError, ProcessError, UnreachableError, message, printable
from ..process.run import LINE_LIMIT, Argv, run
from ..process.socket_bridge import bridge
from ..values import StorePath
from .transport import Store

CLIENT_FAILED: Final = 1
"""Exit code of the client when it failed itself; a shell's failing command gives it as well."""
NIX_DAEMON: Final = ("nix-daemon", "--stdio")


@dataclass(frozen=True, slots=True, kw_only=True)
class IncusExec:
    """One instance, through Incus's client."""

    host: HostSpec
    folder: PurePosixPath
    """A private folder for markers, relative to the program's folder."""

    @property
    def address(self) -> str:
        """Empty: it has none that we know."""
        return ""

    @property
    def instance(self) -> Argv:
        """The arguments that name the instance for `incus exec`."""
        incus = self.host.incus
        if incus is None:
            msg = f"{self.host.name} is not an instance"
            raise ValueError(msg)
        return (f"{incus.remote}:{incus.name}", "--project", incus.project)

    def argv(self, *remote: str) -> Argv:
        """The local command that runs `remote` in the instance as root."""
        return ("incus", "exec", *self.instance, "-T", "--", *remote)

    def explain(self, error: ProcessError) -> HostError:
        """The error for a failure of Incus's client, or of the command."""
        where = f"{self.host.name} ({self.instance[0]}, project {self.instance[-1]})"
        last = error.last_lines(1)
        if error.remedy:
            return HostError(message("cannot reach the host", where, last, error.remedy))
        if not self.is_transport_failure(error.code):
            remedy = "check its disk space, its PATH and its shell"
            return HostError(message("the host could not run the command", where, last, remedy))
        remedy = f"check that the instance runs, and that `{shlex.join(self.argv('true'))}` works"
        return UnreachableError(message("cannot reach the host", where, last, remedy))

    def is_transport_failure(self, code: int | None) -> bool:
        """Whether the client itself failed or was terminated."""
        return code is None or code < 0 or code == CLIENT_FAILED

    async def require_uuid(self, uuid: str) -> None:
        """Refuse another instance of that name: there is no host key by which to tell them apart.

        Raises:
            HostError: it is another one, or Incus cannot be asked.
        """
        name, *project = self.instance
        argv = ("incus", "config", "get", *project, "--", name, "volatile.uuid")
        try:
            done = await run(argv, timeout=self.host.activation.call.seconds, limit=LINE_LIMIT)
        except ProcessError as error:
            raise self.explain(error) from error
        if done.text != uuid:
            where = f"{self.host.name} ({name}, project {project[-1]})"
            detail = f"its UUID is {printable(done.text) or 'empty'}, and the state has {uuid}"
            remedy = "find out who has replaced it, then run `pulumi refresh`"
            raise HostError(message("another instance", where, detail, remedy))

    @asynccontextmanager
    async def store(self) -> AsyncIterator[Store]:
        """The instance's store: a local socket whose other end is `nix-daemon --stdio` in it.

        Nix speaks its own protocol over the socket: it asks which paths the instance has, and sends
        the others in one stream, as over ssh.
        """
        async with bridge(self.argv(*NIX_DAEMON)) as socket:
            yield Store(url=f"unix://{socket}")

    def copy_command(self, build: StorePath, out: StorePath) -> str:
        """Exports the whole closure: a shell cannot ask the instance which paths it has."""
        realise = shlex.join(("nix-store", "--realise", build.path))
        query = shlex.join(("nix-store", "--query", "--requisites", out.path))
        imported = shlex.join(self.argv("nix-store", "--import"))
        return f"{{ {realise} && nix-store --export $({query}) | {imported}; }} > /dev/null"

    def copied_marker(self, out: StorePath) -> PurePosixPath:
        """The file whose presence means that this run has copied `out` to the host."""
        return self.folder / f"copied-{self.host.name}-{out.digest}"
