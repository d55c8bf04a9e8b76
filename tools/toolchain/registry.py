"""skopeo, which copies images without a daemon, and a registry for tests."""

import shutil
from pathlib import Path
from typing import Final

from toolchain import apt, machine
from toolchain.part import Found, Part
from toolchain.paths import TOOLCHAIN, key
from toolchain.work import Missing, Work

_PACKAGE: Final = "docker-registry"


def _find_skopeo() -> Found | None:
    own = machine.find_tool("skopeo")
    if own is None:
        return None
    version = machine.text(machine.version(own, "--version"))
    return Found(source="machine", detail=f"skopeo {version}")


def _make_skopeo(work: Work) -> None:
    apt.ensure(work, skopeo="skopeo")


def _folder() -> Path:
    return TOOLCHAIN / f"registry-{key(_PACKAGE)}"


def _find_registry() -> Found | None:
    if machine.find_tool(_PACKAGE):
        return Found(source="machine", detail=_PACKAGE)
    program = _folder() / "bin" / _PACKAGE
    if not program.is_file():
        return None
    return Found(source="cache", detail=_PACKAGE, bin=str(program.parent))


def _make_registry(work: Work) -> None:
    if not apt.usable():
        reason = f"no {_PACKAGE} on PATH, and only root can install one from Debian's packages"
        raise Missing(
            reason, remedy=f"install {_PACKAGE}, or run tools/bootstrap as root on Debian"
        )
    with work.folder(_folder()) as folder:
        (folder / "bin").mkdir()
        for package in apt.fetch(work, folder, _PACKAGE):
            root = str(folder / "root")
            work.run("dpkg-deb", "--extract", str(package), root, step="unpacking")
            package.unlink()
        shutil.copy(folder / "root" / "usr" / "bin" / _PACKAGE, folder / "bin" / _PACKAGE)
        shutil.rmtree(folder / "root")
    work.run(str(_folder() / "bin" / _PACKAGE), "--version", step="checking that it runs")


PARTS: Final = (
    Part(
        name="skopeo",
        plan="Debian's package, to push images to a registry",
        find=_find_skopeo,
        make=_make_skopeo,
    ),
    Part(
        name="registry",
        plan="from Debian's package, for tests; neither installed nor started",
        find=_find_registry,
        make=_make_registry,
    ),
)
