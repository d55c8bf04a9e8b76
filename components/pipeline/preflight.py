"""Checks before a run changes anything: one line for each target.

Nothing here connects to a host or evaluates anything, so a wrong setup is reported at once.
"""

from pathlib import Path

from .config.stack import Settings
from .targets.docker import remote
from .targets.incus import preflight
from .transport.ssh_files import SshFiles, write_ssh_files


def check(settings: Settings, folder: Path) -> SshFiles:
    """Check what the targets need on this machine, and write the files that ssh needs.

    `folder` is the stack's private one, relative to the program's.

    Raises:
        FlakeupError: a target cannot be used as the config says.
    """
    preflight.check_fingerprints(host.incus for host in settings.hosts)
    files = write_ssh_files(folder, settings.hosts, settings.ssh_key)
    remote.pin(settings.services.host, settings.services.host_key, files)
    return files
