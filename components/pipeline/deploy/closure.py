"""Building the release, and bringing a closure to a host."""

import shlex
from pathlib import Path

from ..errors import BuildError, CopyError, ProcessError, message
from ..evaluate.evaluate import EvaluatedAttr
from ..process.run import Argv
from ..release import nix
from ..transport.ssh import PLAIN_NIX, SSH_FAILED, Transport, copy_argv

BUILD_TIMEOUT = 6 * 3600.0
COPY_TIMEOUT = 3600.0


def build_argv(systems: tuple[EvaluatedAttr, ...]) -> Argv:
    """One command for all hosts: nix's scheduler sees the whole graph.

    Never one build a host side by side: where they share a derivation, nix polls its lock
    every 5 s.
    """
    return (*PLAIN_NIX, *_build_argv(systems))


def _build_argv(systems: tuple[EvaluatedAttr, ...]) -> Argv:
    outputs = sorted({f"{system.drv_path.path}^out" for system in systems})
    return ("build", "--no-link", "--", *outputs)


def text(argv: Argv) -> str:
    """The command for a shell, which it replaces: cancelling then ends nix itself."""
    return f"exec {shlex.join(argv)}"


def copy_text(system: EvaluatedAttr, transport: Transport) -> str:
    """The command of the resource `copy`, which does nothing where its hook has just copied.

    To repeat a copy that has nothing to send costs another connection: half a second of a core.
    """
    mark = transport.copied_marker(system.out_path)
    return f"test -e {mark} || {transport.copy_text(system.drv_path, system.out_path)}"


async def realise(systems: tuple[EvaluatedAttr, ...]) -> None:
    """Build what is not in this machine's store.

    Raises:
        BuildError: with the end of the log of the derivation that failed.
    """
    missing = tuple(system for system in systems if not nix.is_present(system.out_path))
    if not missing:
        return
    try:
        await nix.command(*_build_argv(missing), timeout=BUILD_TIMEOUT)
    except ProcessError as error:
        attrs = ", ".join(sorted({system.attr for system in missing}))
        remedy = "no host was touched; fix the flake or the app, then run `pulumi up` again"
        _, marker, reason = error.last_lines(25).partition("error: ")
        detail = f"error: {reason}" if marker else error.last_lines(25)
        msg = message("the build failed", attrs, detail, remedy)
        raise BuildError(msg) from error


async def copy(system: EvaluatedAttr, transport: Transport) -> None:
    """Copy a closure to a host, now.

    Raises:
        CopyError: nix's own words, and what to look at.
        HostError: the connection could not be made.
    """
    mark, host = Path(transport.copied_marker(system.out_path)), transport.host
    _forget(mark)
    try:
        async with transport.store() as store:
            words = copy_argv(host, store.url, system.drv_path)
            await nix.command(*words, timeout=COPY_TIMEOUT, env=store.environment)
    except ProcessError as error:
        if "failed to start SSH connection" in error.detail:
            raise transport.explain(_of_ssh(error)) from error
        remedy = "`pulumi up` again sends only what is missing"
        if "No space left on device" in error.detail:
            remedy = "make room on the host (`nix-collect-garbage -d`), then run `pulumi up` again"
        msg = message("the copy failed", host.name, error.last_lines(6), remedy)
        raise CopyError(msg) from error
    _remember(mark)


def _remember(mark: Path) -> None:
    mark.touch()


def _forget(mark: Path) -> None:
    """Remove the marks of a host's earlier copies; they end in the hash of a store path."""
    for stale in mark.parent.glob(mark.name[:-32] + "?" * 32):
        stale.unlink(missing_ok=True)


def _of_ssh(error: ProcessError) -> ProcessError:
    """What ssh said in a failure of nix, whose own lines begin with `error:`."""
    said = [line for line in error.detail.splitlines() if not line.lstrip().startswith("error:")]
    return ProcessError(argv=error.argv, code=SSH_FAILED, detail="\n".join(said))
