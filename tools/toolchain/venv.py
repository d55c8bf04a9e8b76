"""The virtual environment: hash-locked requirements, installed by a pinned uv."""

import sys
from pathlib import Path
from typing import Final

from toolchain import apt
from toolchain.part import Found, Part
from toolchain.paths import PROJECT, TOOLCHAIN, TOOLS, VENV, key
from toolchain.work import Missing, Work

PYTHON: Final = f"{sys.version_info.major}.{sys.version_info.minor}.{sys.version_info.micro}"
_LOCKS: Final = (PROJECT / "requirements-dev.txt", TOOLS / "pip.txt")
_INSTALLED: Final = VENV / "flakeup-installed"


def _uv_folder() -> Path:
    return TOOLCHAIN / f"uv-{key(TOOLS / 'uv.txt', PYTHON)}"


def _find_uv() -> Found | None:
    uv = _uv_folder() / "bin" / "uv"
    return Found(source="cache", detail="uv") if uv.is_file() else None


def _make_uv(work: Work) -> None:
    with work.folder(_uv_folder()) as folder:
        try:
            work.run(
                sys.executable, "-m", "venv", str(folder), step="creating an environment for uv"
            )
        except Missing:
            if not apt.usable():
                raise
            apt.install(work, "python3-venv")
            work.run(sys.executable, "-m", "venv", "--clear", str(folder))
        pip = (str(folder / "bin" / "python"), "-m", "pip", "install", "--require-hashes")
        work.run(*pip, "-r", str(TOOLS / "uv.txt"), step="installing uv")


def _find_venv() -> Found | None:
    if not _INSTALLED.is_file() or not (VENV / "bin" / "python").exists():
        return None
    if _INSTALLED.read_text() != _wanted():
        return None
    return Found(source="cache", detail=f"Python {PYTHON}", facts={"python": str(_python())})


def _make_venv(work: Work) -> None:
    """Install in place, as it cannot be moved; `_INSTALLED` says that it is complete."""
    uv = str(_uv_folder() / "bin" / "uv")
    _INSTALLED.unlink(missing_ok=True)
    if not _is_usable(work):
        python = ("--python", sys.executable)
        work.run(uv, "venv", "--clear", "--prompt", "flakeup", *python, str(VENV))
    sync = (uv, "pip", "sync", "--python", str(_python()), "--require-hashes", "--compile-bytecode")
    work.run(*sync, *map(str, _LOCKS), step="installing packages")
    _INSTALLED.write_text(_wanted())


def _is_usable(work: Work) -> bool:
    """Whether there is an environment of exactly this Python."""
    if not _python().exists():
        return False
    try:
        output = work.run(str(_python()), "-c", "import platform; print(platform.python_version())")
    except Missing:
        return False
    return output.strip() == PYTHON


def _python() -> Path:
    return VENV / "bin" / "python"


def _wanted() -> str:
    return key(*_LOCKS, PYTHON)


UV: Final = Part(
    name="uv",
    plan="from the package index, hash-checked, into the cache",
    find=_find_uv,
    make=_make_uv,
    helper=True,
)
PARTS: Final = (
    UV,
    Part(
        name="venv",
        plan=".venv from requirements-dev.txt, hash-checked and compiled (about 30 s)",
        find=_find_venv,
        make=_make_venv,
        needs=("uv",),
        core=True,
    ),
)
