"""Provider plugins: the released ones where they can be had, else the project's own."""

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

_PATIENCE: Final = 20
"""Seconds for the download; where the network allows none, each try would take that long."""
_ASK_AGAIN: Final = 24 * 3600
"""Seconds for which a download that failed is not tried again."""
_WRAPPER: Final = """\
#!/bin/sh
# Made by tools/install-plugins: the project's stand-in, with the project's Python.
FLAKEUP_PYTHON={python} exec {plugin} "$@"
"""


def install(home: Path) -> str:
    """Put the plugins into a PULUMI_HOME; says which ones, a line each, for a reader.

    `FLAKEUP_COMMAND_PLUGIN` and `FLAKEUP_DOCKER_PLUGIN` name binaries that go before all others.
    """
    # Side by side: where nothing can be downloaded, each takes its time to find out.
    with ThreadPoolExecutor(len(PLUGINS)) as pool:
        return "\n".join(pool.map(lambda plugin: plugin.install(home), PLUGINS))


@dataclass(frozen=True, slots=True)
class Plugin:
    """One provider plugin, of which the project has a stand-in."""

    name: str

    @property
    def binary(self) -> str:
        return f"pulumi-resource-{self.name}"

    @property
    def version(self) -> str:
        """The version that the Python package asks for, as requirements.txt locks it."""
        text = (PROJECT / "requirements.txt").read_text()
        found = re.search(rf"^pulumi-{self.name}==([0-9.]+)", text, re.MULTILINE)
        if found is None:
            msg = f"requirements.txt does not lock pulumi-{self.name}"
            raise ValueError(msg)
        return found[1]

    def install(self, home: Path) -> str:
        """Put it into a PULUMI_HOME; says which one."""
        place = home / "plugins" / f"resource-{self.name}-v{self.version}" / self.binary
        chosen = os.environ.get(f"FLAKEUP_{self.name.upper()}_PLUGIN")
        binary = Path(chosen).resolve() if chosen else self._released()
        if binary is None:
            return self._stand_in(place)
        place.parent.mkdir(parents=True, exist_ok=True)
        _link(place, binary)
        how = "as told" if chosen else "released"
        return f"plugin {self.name} {self.version}: {how}, {binary}"

    def _stand_in(self, place: Path) -> str:
        python = os.environ.get("FLAKEUP_PYTHON") or str(VENV / "bin" / "python")
        plugin = str(PROJECT / "tools" / "standins" / self.name / self.binary)
        text = _WRAPPER.format(python=shlex.quote(python), plugin=shlex.quote(plugin))
        write(place, text, mode=0o755)
        which = f"stand-in from tools/standins/{self.name}, no released one can be had"
        return f"plugin {self.name} {self.version}: {which}"

    def _released(self) -> Path | None:
        """The released plugin, downloaded once; None where it cannot be downloaded."""
        place = TOOLCHAIN / f"plugin-{self.name}-{self.version}"
        tried = TOOLCHAIN / f"plugin-{self.name}-{self.version}.json"
        if (place / self.binary).is_file():
            return place / self.binary
        if tried.is_file() and time.time() - json.loads(tried.read_text())["failed"] < _ASK_AGAIN:
            return None
        said = self._download(place)
        if (place / self.binary).is_file():
            return place / self.binary
        write(tried, json.dumps({"failed": time.time(), "said": said}))
        return None

    def _download(self, place: Path) -> str:
        """`pulumi plugin install` into a home that is thrown away; returns what it said."""
        cli = pulumi.binary()
        if cli is None:
            return "no pulumi"
        home = UNFINISHED / f"{place.name}.{os.getpid()}"
        environment = {**os.environ, "PULUMI_HOME": str(home), "PULUMI_SKIP_UPDATE_CHECK": "true"}
        argv = (cli, "plugin", "install", "resource", self.name, self.version)
        try:
            done = subprocess.run(
                argv,
                env=environment,
                timeout=_PATIENCE,
                check=False,
                text=True,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
            )
            got = home / "plugins" / f"resource-{self.name}-v{self.version}"
            if done.returncode == 0 and (got / self.binary).is_file() and not place.exists():
                got.rename(place)
            return done.stdout[-500:]
        except subprocess.TimeoutExpired:
            return f"no answer in {_PATIENCE} s"
        finally:
            shutil.rmtree(home, ignore_errors=True)


PLUGINS: Final = (Plugin("command"), Plugin("docker"))


def _link(place: Path, binary: Path) -> None:
    fresh = place.with_name(f".{place.name}.{os.getpid()}")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(binary)
    fresh.replace(place)
