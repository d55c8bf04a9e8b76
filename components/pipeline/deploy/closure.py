"""Build the release, and copy closures to hosts."""

import re
import shlex
from pathlib import Path
from typing import Final

from ..config.timeouts import Phase
from ..errors import BuildError, CopyError, ProcessError, message, printable
from ..evaluate.attribute import EvaluatedAttr
from ..process.run import Argv
from ..release import nix
from ..release.builders import explain_missing_builder
from ..transport.ssh import PLAIN_NIX
from ..transport.ssh_errors import SSH_FAILED
from ..transport.transport import Transport, copy_argv

_UNTRUSTED: Final = re.compile(r"ignoring untrusted substituter '([^']+)'")
"""A Nix daemon takes caches from users in its `trusted-users` only."""


def build_argv(systems: tuple[EvaluatedAttr, ...]) -> Argv:
    """One command for all hosts: nix's scheduler sees the whole graph.

    Never one build per host in parallel: nix polls the lock of a shared derivation every 5 s.
    """
    return (*PLAIN_NIX, *_build_argv(systems))


def _build_argv(systems: tuple[EvaluatedAttr, ...]) -> Argv:
    outputs = sorted({f"{system.drv_path.path}^out" for system in systems})
    return ("build", "--no-link", "--", *outputs)


def shell_command(argv: Argv) -> str:
    """The command line; it replaces the shell, so that cancelling terminates the command itself."""
    return f"exec {shlex.join(argv)}"


def copy_command(system: EvaluatedAttr, transport: Transport) -> str:
    """The command of the resource `copy`; a no-op if its hook has just copied.

    Repeating a copy with nothing to send costs another connection: half a second of CPU.
    """
    marker = transport.copied_marker(system.out_path)
    return f"test -e {marker} || {transport.copy_command(system.drv_path, system.out_path)}"


async def realise(systems: tuple[EvaluatedAttr, ...]) -> tuple[str, ...]:
    """Build what this machine's store lacks; returns the caches that a Nix daemon did not take.

    Raises:
        BuildError: with the end of the log of the failed derivation.
    """
    missing = tuple(system for system in systems if not nix.is_present(system.out_path))
    if not missing:
        return ()
    try:
        done = await nix.command(*_build_argv(missing), phase=Phase.BUILD)
    except ProcessError as error:
        attrs = ", ".join(sorted({system.attr for system in missing}))
        if builder := explain_missing_builder(error.detail):
            detail, remedy = builder
            msg = message("no builder", attrs, detail, f"no host was changed; {remedy}")
            raise BuildError(msg) from error
        remedy = error.remedy or "fix the flake or the app, then run `pulumi up` again"
        remedy = f"no host was changed; {remedy}"
        _, marker, reason = error.last_lines(25).partition("error: ")
        detail = f"error: {reason}" if marker else error.last_lines(25)
        msg = message("the build failed", attrs, detail, remedy)
        raise BuildError(msg) from error
    return tuple(map(printable, _UNTRUSTED.findall(done.stderr_text)))


async def copy(system: EvaluatedAttr, transport: Transport) -> None:
    """Copy a closure to a host.

    Raises:
        CopyError: with nix's output.
        HostError: the connection could not be made.
    """
    marker, host = Path(transport.copied_marker(system.out_path)), transport.host
    _remove_markers(marker)
    try:
        async with transport.store() as store:
            arguments = copy_argv(host, store.url, system.drv_path)
            await nix.command(*arguments, phase=Phase.COPY, env=store.environment)
    except ProcessError as error:
        if "failed to start SSH connection" in error.detail:
            raise transport.explain(_ssh_error(error)) from error
        remedy = error.remedy or _remedy(error.detail)
        msg = message("the copy failed", host.name, error.last_lines(6), remedy)
        raise CopyError(msg) from error
    _mark(marker)


def _remedy(detail: str) -> str:
    if "No space left on device" in detail:
        return "make room on the host (`nix-collect-garbage -d`), then run `pulumi up` again"
    if "protocol mismatch" in detail:  # Nix shows what it got instead of its own greeting
        return (
            "its login shell must print nothing when it runs a command; then run `pulumi up` again"
        )
    return "`pulumi up` again sends only what is missing"


def _mark(marker: Path) -> None:
    marker.touch()


def _remove_markers(marker: Path) -> None:
    """Remove the markers of a host's earlier copies; they end in the hash of a store path."""
    for stale in marker.parent.glob(marker.name[:-32] + "?" * 32):
        stale.unlink(missing_ok=True)


def _ssh_error(error: ProcessError) -> ProcessError:
    """The part of a failure of nix that ssh wrote: nix's own lines begin with `error:`."""
    lines = [line for line in error.detail.splitlines() if not line.lstrip().startswith("error:")]
    return ProcessError(argv=error.argv, code=SSH_FAILED, detail="\n".join(lines))
