"""The baseline: a script that builds once, then copies and switches on all hosts in parallel."""

import os
import shlex
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from components.pipeline.config.stack import parse
from components.pipeline.transport.ssh import Ssh
from components.pipeline.transport.ssh_files import SshFiles
from harness.incus import HarnessError

TIMEOUT: Final = 120
_KEY: Final = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINuL0ZigIKOcgNh0FAkf5fC3CAo5iDI8fxbIIkx376e6"
"""A placeholder in the config: the actual keys are in the program's known_hosts."""
_NIX: Final = "nix --extra-experimental-features 'nix-command flakes'"
_HOST: Final = """\
(
  export NIX_SSHOPTS={options}
  path=$(echo "$paths" | sed -n {line}p)
  {nix} copy --no-check-sigs --substitute-on-destination --to {store} "$path"
  ssh -T $NIX_SSHOPTS -- {login} "nix-env -p /nix/var/nix/profiles/system --set $path &&
    $path/bin/switch-to-configuration switch"
) & jobs="$jobs $!"
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class BaselineScript:
    """Runs the script in `folder`."""

    folder: Path
    identity: Path
    """The ssh files that the program has written there."""
    key: Path
    """The login key; the program's own copy leaves with each run."""

    def deploy(self, addresses: Mapping[str, str], ref: str) -> float:
        """Deploy a tag of the app; returns the seconds that it took.

        Raises:
            HarnessError: a command of the script failed.
        """
        script = self.folder / "baseline.sh"
        script.write_text(self._script(addresses, ref))
        # An evaluation cache of its own, which is warm like the program's.
        environment = {**os.environ, "NIX_CACHE_HOME": str(self.folder / "baseline-cache")}
        began = time.monotonic()
        done = subprocess.run(
            ("sh", script),
            cwd=self.folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )
        seconds = time.monotonic() - began
        if done.returncode:
            msg = f"{script} exited with status {done.returncode}: {done.stderr.strip()[-1000:]}"
            raise HarnessError(msg)
        return seconds

    def _script(self, addresses: Mapping[str, str], ref: str) -> str:
        app = f"git+file://{self.folder}/app?ref=refs/tags/{ref}"
        systems = " ".join(
            f"path:./flake#nixosConfigurations.{name}.config.system.build.toplevel"
            for name in addresses
        )
        build = f"{_NIX} build --no-link --print-out-paths --override-input app '{app}' {systems}"
        head = f"#!/bin/sh\nset -eu\njobs=''\npaths=$({build})\n"
        hosts = "".join(
            self._host(line, name, address)
            for line, (name, address) in enumerate(addresses.items(), start=1)
        )
        return f"{head}{hosts}for job in $jobs; do wait $job; done\n"

    def _host(self, line: int, name: str, address: str) -> str:
        settings = parse(
            {"flake": "./flake", "hosts": {name: {"address": address, "hostKey": _KEY}}}
        )
        files = SshFiles(
            known_hosts=PurePosixPath(self.identity / "known_hosts"),
            key=PurePosixPath(self.key),
        )
        ssh = Ssh.of(settings.hosts[0], files)
        return _HOST.format(
            options=shlex.quote(ssh.nix_sshopts),
            line=line,
            nix=_NIX,
            store=shlex.quote(ssh.store_url),
            login=f"root@{address}",
        )
