"""A layer with Debian's HAProxy, for the edge image of the demo's service; not installed."""

import re
import shutil
import tarfile
from pathlib import Path
from typing import Final

from toolchain import apt, machine
from toolchain.part import Found, Part
from toolchain.paths import TOOLCHAIN, key
from toolchain.work import Missing, Work

_PACKAGES: Final = ("haproxy", "liblua5.3-0", "libopentracing-c-wrapper0", "libopentracing1")
"""With the libraries that machines rarely have; the others are the machine's own."""
_REMEDY: Final = "run tools/bootstrap as root on Debian 12"
_PROGRAM: Final = "usr/sbin/haproxy"
_LIBRARY: Final = re.compile(r"(/\S+) \(0x")
_REVISION: Final = "1"


def layer() -> Path:
    """The layer: /usr/sbin/haproxy, its libraries, and an empty /etc/haproxy."""
    return TOOLCHAIN / f"edge-{key(*_PACKAGES, _REVISION)}" / "layer.tar"


def _find() -> Found | None:
    if not layer().is_file():
        return None
    return Found(source="cache", detail="haproxy", facts={"layer": str(layer())})


def _make(work: Work) -> None:
    if not apt.usable() or machine.release().get("VERSION_CODENAME") != "bookworm":
        reason = "HAProxy is taken from Debian 12's package, which needs root on Debian 12"
        raise Missing(reason, remedy=_REMEDY)
    with work.folder(layer().parent) as folder:
        root = folder / "root"
        root.mkdir()
        for package in apt.fetch(work, folder, *_PACKAGES):
            work.run("dpkg-deb", "--extract", str(package), str(root), step="unpacking")
            package.unlink()
        files = {_PROGRAM: root / _PROGRAM}
        for library in _libraries(work, root):
            # In the folder in which its loader looks for it.
            place = "lib64" if library.name.startswith("ld-linux") else "lib"
            files[f"{place}/{library.name}"] = library
        _pack(folder / layer().name, files)
        shutil.rmtree(root)


def _libraries(work: Work, root: Path) -> list[Path]:
    own = ":".join(str(path) for path in root.glob("usr/lib/*-linux-gnu"))
    output = work.run("ldd", str(root / _PROGRAM), env={"LD_LIBRARY_PATH": own})
    if "not found" in output:
        reason = f"a library of HAProxy is missing here:\n{output}"
        raise Missing(reason, remedy="install haproxy's libraries")
    return [Path(found) for found in _LIBRARY.findall(output)]


def _pack(archive: Path, files: dict[str, Path]) -> None:
    """Write a reproducible archive."""
    folders = ("etc", "etc/haproxy", "lib", "lib64", "tmp", "usr", "usr/sbin")
    with tarfile.open(archive, "w") as tar:
        for folder in folders:
            info = tarfile.TarInfo(folder)
            info.type, info.mode = tarfile.DIRTYPE, 0o1777 if folder == "tmp" else 0o755
            tar.addfile(info)
        for name, path in sorted(files.items()):
            info = tarfile.TarInfo(name)
            info.size, info.mode = path.stat().st_size, 0o755
            with path.open("rb") as file:
                tar.addfile(info, file)


PARTS: Final = (
    Part(
        name="edge",
        plan="a layer with Debian's HAProxy for the demo's image; nothing is installed",
        find=_find,
        make=_make,
        remedy=_REMEDY,
    ),
)
