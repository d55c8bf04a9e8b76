"""Provider plugins: the released ones if they can be downloaded, else the project's stand-ins."""

import json
import os
import re
import shlex
import shutil
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from toolchain import pulumi
from toolchain.paths import PROJECT, TOOLCHAIN, UNFINISHED, VENV, write

_DOWNLOAD_TIMEOUT: Final = 20
"""Seconds; without internet, a download takes all of them."""
_RETRY_AFTER: Final = 24 * 3600
"""Seconds until a failed download is tried again."""
_WRAPPER: Final = """\
#!/bin/sh
# Written by tools/install-plugins: starts the project's stand-in with the project's Python.
FLAKEUP_PYTHON={python} exec {plugin} "$@"
"""


def install(home: Path) -> str:
    """Install the plugins into a PULUMI_HOME; returns one line about each, for people.

    The binaries that `FLAKEUP_COMMAND_PLUGIN` and `FLAKEUP_DOCKER_PLUGIN` name take precedence.
    """
    # In parallel: without internet, each download runs into its timeout.
    with ThreadPoolExecutor(len(PLUGINS)) as pool:
        return "\n".join(pool.map(lambda plugin: plugin.install(home), PLUGINS))


@dataclass(frozen=True, slots=True)
class Plugin:
    """A provider plugin that the project has a stand-in for."""

    name: str

    @property
    def binary(self) -> str:
        return f"pulumi-resource-{self.name}"

    @property
    def version(self) -> str:
        """The version of its Python package in requirements.txt."""
        text = (PROJECT / "requirements.txt").read_text()
        found = re.search(rf"^pulumi-{self.name}==([0-9.]+)", text, re.MULTILINE)
        if found is None:
            msg = f"requirements.txt does not lock pulumi-{self.name}"
            raise ValueError(msg)
        return found[1]

    def install(self, home: Path) -> str:
        """Install it into a PULUMI_HOME; returns which one it is."""
        place = home / "plugins" / f"resource-{self.name}-v{self.version}" / self.binary
        chosen = os.environ.get(f"FLAKEUP_{self.name.upper()}_PLUGIN")
        binary = Path(chosen).resolve() if chosen else self._released()
        if binary is None:
            return self._stand_in(place)
        place.parent.mkdir(parents=True, exist_ok=True)
        _link(place, binary)
        origin = f"FLAKEUP_{self.name.upper()}_PLUGIN" if chosen else "released"
        return f"plugin {self.name} {self.version}: {origin}, {binary}"

    def _stand_in(self, place: Path) -> str:
        python = os.environ.get("FLAKEUP_PYTHON") or str(VENV / "bin" / "python")
        plugin = str(PROJECT / "tools" / "standins" / self.name / self.binary)
        text = _WRAPPER.format(python=shlex.quote(python), plugin=shlex.quote(plugin))
        write(place, text, mode=0o755)
        origin = f"stand-in from tools/standins/{self.name}, the released one cannot be downloaded"
        return f"plugin {self.name} {self.version}: {origin}"

    def _released(self) -> Path | None:
        """The released plugin, downloaded once; None if it cannot be downloaded."""
        place = TOOLCHAIN / f"plugin-{self.name}-{self.version}"
        failure = TOOLCHAIN / f"plugin-{self.name}-{self.version}.json"
        if (place / self.binary).is_file():
            return place / self.binary
        if failure.is_file():
            failed_at = json.loads(failure.read_text())["failed"]
            if time.time() - failed_at < _RETRY_AFTER:
                return None
        output = self._download(place)
        if (place / self.binary).is_file():
            return place / self.binary
        write(failure, json.dumps({"failed": time.time(), "output": output}))
        return None

    def _download(self, place: Path) -> str:
        """Run `pulumi plugin install` with a temporary PULUMI_HOME; returns its output."""
        cli = pulumi.binary()
        if cli is None:
            return "pulumi is missing"
        home = UNFINISHED / f"{place.name}.{os.getpid()}"
        environment = {**os.environ, "PULUMI_HOME": str(home), "PULUMI_SKIP_UPDATE_CHECK": "true"}
        argv = (cli, "plugin", "install", "resource", self.name, self.version)
        try:
            done = subprocess.run(
                argv,
                env=environment,
                timeout=_DOWNLOAD_TIMEOUT,
                check=False,
                text=True,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
            )
            installed = home / "plugins" / f"resource-{self.name}-v{self.version}"
            if done.returncode == 0 and (installed / self.binary).is_file() and not place.exists():
                installed.rename(place)
            return done.stdout[-500:]
        except subprocess.TimeoutExpired:
            return f"no response in {_DOWNLOAD_TIMEOUT} s"
        finally:
            shutil.rmtree(home, ignore_errors=True)


PLUGINS: Final = (Plugin("command"), Plugin("docker"))


def _link(place: Path, binary: Path) -> None:
    temporary = place.with_name(f".{place.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(binary)
    temporary.replace(place)
