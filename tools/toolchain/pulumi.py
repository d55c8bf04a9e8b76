"""The Pulumi CLI and its Python language host, built from pinned Go modules."""

import os
import re
import shutil
from pathlib import Path
from typing import Final

from toolchain import machine
from toolchain.part import Found, Part
from toolchain.paths import TOOLCHAIN, TOOLS, key
from toolchain.work import Missing, Work

_CLI: Final = TOOLS / "pulumi"
_HOST: Final = TOOLS / "language-python"
_SDK: Final = "github.com/pulumi/pulumi/sdk/v3"
_PKG: Final = "github.com/pulumi/pulumi/pkg/v3"
_BINARIES: Final = (
    (_HOST, _SDK, "python/cmd/pulumi-language-python"),
    (_CLI, _PKG, "cmd/pulumi"),
)
_SCRIPTS: Final = ("cmd/pulumi-language-python-exec", "dist/pulumi-resource-pulumi-python")
_FLAGS: Final = ("-trimpath", "-tags", "osusergo,grpcnotrace")
GO_MINIMUM: Final = (1, 21)
"""The first Go that downloads the newer toolchain which go.mod requires."""


def _pinned(module: Path, name: str) -> str:
    found = re.search(rf"\s{re.escape(name)} (v[0-9.]+)\b", (module / "go.mod").read_text())
    if found is None:
        msg = f"{module / 'go.mod'}: {name} is not pinned there"
        raise ValueError(msg)
    return found[1]


def wanted() -> machine.Version:
    """The version that go.mod pins."""
    return tuple(map(int, _pinned(_CLI, _PKG)[1:].split(".")))


def _folder() -> Path:
    files = (_CLI / "go.mod", _CLI / "go.sum", _HOST / "go.mod", _HOST / "go.sum")
    return TOOLCHAIN / f"pulumi-{machine.text(wanted())}-{key(*files, *_FLAGS)}"


def _find() -> Found | None:
    own = machine.find_tool("pulumi")
    if own and machine.find_tool("pulumi-language-python"):
        version = machine.version(own, "version")
        if version >= wanted() and version[0] == wanted()[0]:
            return Found(source="machine", detail=f"pulumi {machine.text(version)}")
    if (_folder() / "bin" / "pulumi").is_file():
        detail = f"pulumi {machine.text(wanted())}"
        return Found(source="cache", detail=detail, bin=str(_folder() / "bin"))
    return None


def binary() -> str | None:
    """The path of the CLI in use, or None."""
    found = _find()
    if found is None:
        return None
    return str(Path(found.bin) / "pulumi") if found.bin else machine.find_tool("pulumi")


def _make(work: Work) -> None:
    go = _go()
    with work.folder(_folder()) as folder:
        target = folder / "bin"
        for module, versioned, package in _BINARIES:
            options = (*_build_flags(_pinned(module, versioned)), "-o", f"{target}/")
            step = f"go build {Path(package).name}"
            work.run(go, "build", *options, "--", f"{versioned}/{package}", cwd=module, step=step)
        sdk = work.run(go, "list", "-mod=readonly", "-m", "-f", "{{.Dir}}", _SDK, cwd=_CLI)
        for script in _SCRIPTS:
            copied = Path(shutil.copy(Path(sdk.splitlines()[-1]) / "python" / script, target))
            copied.chmod(0o755)


def _build_flags(number: str) -> tuple[str, ...]:
    """Flags that set the version, which a binary does not know otherwise."""
    variable = f"{_SDK}/go/common/version.Version"
    return ("-mod=readonly", "-v", *_FLAGS, "-ldflags", f"-s -w -X {variable}={number}")


def _go() -> str:
    places = (os.environ.get("PATH", os.defpath), "/usr/local/go/bin", "/usr/lib/go/bin")
    go = shutil.which("go", path=os.pathsep.join(places))
    if go is None or machine.version(go, "version") < GO_MINIMUM:
        reason = f"no pulumi {machine.text(wanted())} on PATH, and no Go to build it with"
        remedy = f"install pulumi {machine.text(wanted())} or later, or Go 1.21 or later"
        raise Missing(reason, remedy=remedy)
    return go


PARTS: Final = (
    Part(
        name="pulumi",
        plan="CLI and Python language host, built from pinned Go modules (about 6 min on 2 cores)",
        find=_find,
        make=_make,
        core=True,
    ),
)
