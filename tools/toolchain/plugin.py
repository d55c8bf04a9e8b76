"""The `command` provider plugin: the released one where it can be had, else the project's own."""

import json
import os
import re
import shlex
import shutil
import subprocess
import time
from pathlib import Path
from typing import Final

from toolchain import pulumi
from toolchain.paths import PROJECT, TOOLCHAIN, UNFINISHED, VENV, write

NAME: Final = "pulumi-resource-command"
_STAND_IN: Final = PROJECT / "plugins" / "command" / NAME
_PATIENCE: Final = 20
"""Seconds for the download; where the network allows none, each try would take that long."""
_ASK_AGAIN: Final = 24 * 3600
"""Seconds for which a download that failed is not tried again."""
_WRAPPER: Final = """\
#!/bin/sh
# Made by tools/install-plugins: the project's stand-in, with the project's Python.
FLAKEUP_PYTHON={python} exec {plugin} "$@"
"""


def version() -> str:
    """The version that the Python package asks for, as requirements.txt locks it."""
    text = (PROJECT / "requirements.txt").read_text()
    found = re.search(r"^pulumi-command==([0-9.]+)", text, re.MULTILINE)
    if found is None:
        msg = "requirements.txt does not lock pulumi-command"
        raise ValueError(msg)
    return found[1]


def install(home: Path) -> str:
    """Put the plugin into a PULUMI_HOME; says which one, for a reader.

    `FLAKEUP_COMMAND_PLUGIN` names a binary that goes before all others.
    """
    folder = home / "plugins" / f"resource-command-v{version()}"
    chosen = os.environ.get("FLAKEUP_COMMAND_PLUGIN")
    binary = Path(chosen).resolve() if chosen else released()
    if binary is None:
        python = os.environ.get("FLAKEUP_PYTHON") or str(VENV / "bin" / "python")
        text = _WRAPPER.format(python=shlex.quote(python), plugin=shlex.quote(str(_STAND_IN)))
        write(folder / NAME, text, mode=0o755)
        which = "stand-in from plugins/command, no released one can be had"
        return f"plugin command {version()}: {which}"
    folder.mkdir(parents=True, exist_ok=True)
    _link(folder / NAME, binary)
    return f"plugin command {version()}: {'as told, ' if chosen else 'released, '}{binary}"


def _link(place: Path, binary: Path) -> None:
    fresh = place.with_name(f".{place.name}.{os.getpid()}")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(binary)
    fresh.replace(place)


def released() -> Path | None:
    """The released plugin, downloaded once; None where it cannot be downloaded."""
    place = TOOLCHAIN / f"plugin-command-{version()}"
    tried = TOOLCHAIN / f"plugin-command-{version()}.json"
    if (place / NAME).is_file():
        return place / NAME
    if tried.is_file() and time.time() - json.loads(tried.read_text())["failed"] < _ASK_AGAIN:
        return None
    said = _download(place)
    if (place / NAME).is_file():
        return place / NAME
    write(tried, json.dumps({"failed": time.time(), "said": said}))
    return None


def _download(place: Path) -> str:
    """`pulumi plugin install` into a home that is thrown away; returns what it said."""
    binary = pulumi.binary()
    if binary is None:
        return "no pulumi"
    home = UNFINISHED / f"{place.name}.{os.getpid()}"
    environment = {**os.environ, "PULUMI_HOME": str(home), "PULUMI_SKIP_UPDATE_CHECK": "true"}
    argv = (binary, "plugin", "install", "resource", "command", version())
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
        got = home / "plugins" / f"resource-command-v{version()}"
        if done.returncode == 0 and (got / NAME).is_file() and not place.exists():
            got.rename(place)
        return done.stdout[-500:]
    except subprocess.TimeoutExpired:
        return f"no answer in {_PATIENCE} s"
    finally:
        shutil.rmtree(home, ignore_errors=True)
