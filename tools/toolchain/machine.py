"""This machine: its system, our rights, and the tools on its PATH."""

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Final

from toolchain.paths import TOOLCHAIN, write

Version = tuple[int, ...]
_VERSIONS: Final = TOOLCHAIN / "machine.json"


def is_root() -> bool:
    return os.geteuid() == 0


def is_linux() -> bool:
    return sys.platform == "linux"


def release() -> dict[str, str]:
    """The fields of /etc/os-release; empty if there is none."""
    path = Path("/etc/os-release")
    lines = path.read_text().splitlines() if path.is_file() else []
    pairs = (line.split("=", 1) for line in lines if "=" in line)
    return {name: value.strip('"') for name, value in pairs}


def has_systemd() -> bool:
    return Path("/run/systemd/system").is_dir()


def find_tool(tool: str) -> str | None:
    """A tool on the machine's own PATH, without the folders that tools/env adds."""
    folders = os.environ.get("PATH", os.defpath).split(os.pathsep)
    ours = str(TOOLCHAIN)
    return shutil.which(tool, path=os.pathsep.join(f for f in folders if not f.startswith(ours)))


def version(path: str, *arguments: str) -> Version:
    """A tool's version, cached until its file changes; () if it prints none."""
    real = Path(path).resolve()
    stat = real.stat()
    name = f"{real} {stat.st_mtime_ns} {stat.st_size}"
    seen: dict[str, list[int]] = {}
    if _VERSIONS.is_file():
        seen = json.loads(_VERSIONS.read_text())
    if name not in seen:
        seen[name] = list(_read_version((path, *arguments)))
        write(_VERSIONS, json.dumps(seen, indent=1))
    return tuple(seen[name])


def output(*argv: str) -> str:
    """The stdout of a command; empty if it cannot be run."""
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout


def _read_version(argv: tuple[str, ...]) -> Version:
    match = re.search(r"(\d+)\.(\d+)(?:\.(\d+))?", output(*argv))
    return tuple(int(number) for number in match.groups("0")) if match else ()


def text(wanted: Version) -> str:
    return ".".join(map(str, wanted))


def pack(archive: Path, name: str, content: str) -> None:
    """Write a reproducible tar.xz with one file."""
    source = archive.with_name(name)
    source.write_text(content)
    with tarfile.open(archive, "w:xz") as tar:
        info = tar.gettarinfo(source, arcname=name)
        info.mtime = info.uid = info.gid = 0
        info.uname = info.gname = "root"
        with source.open("rb") as opened:
            tar.addfile(info, opened)
    source.unlink()
