"""What a failed evaluation says: nix's reason without its trace, and what has no store path.

Nix prints the trace first, from the outside in, and the reason last; the outermost frames are the
expression that flakeup itself gives it (`--apply`).
"""

import re
import textwrap
from collections.abc import Mapping
from typing import Any, Final

from ..errors import ELLIPSIS, EvaluationError, message, printable
from . import attribute as attributes
from .attribute import Attribute, IncusImage

REASON_LINES: Final = 60
"""Lines of a reason that are shown, from its beginning: of NixOS's failed assertions, all."""
REASON_LENGTH: Final = 6000

_FRAME: Final = re.compile(r"^\s*(?:… |\(stack trace truncated)", re.MULTILINE)
_ERROR: Final = re.compile(r"^[^\S\n]*error:", re.MULTILINE)
_OWN_LINES: Final = re.compile(r"^\s*at «string»:.*(?:\n\s*\d*\|.*)*\n?", re.MULTILINE)
"""A position in flakeup's own expression, and its excerpt."""
_OWN_MISSING: Final = re.compile(r"attribute '(\w+)' missing\s+at «string»:")
"""What flakeup's own expression asks for, and there is not."""


def reason(printed: str) -> str:
    """Nix's reason, from its beginning, bounded and printable; empty if there is none."""
    *_, last = [0, *(frame.end() for frame in _FRAME.finditer(printed))]
    found = _ERROR.search(printed, last) or _ERROR.search(printed)
    if found is None:
        return ""
    text = _OWN_LINES.sub("", printed[found.end() :])
    first, _, rest = text.strip("\n").partition("\n")
    lines = "\n".join((first.strip(), textwrap.dedent(rest))).strip().splitlines()
    if len(lines) > REASON_LINES:
        more = len(lines) - REASON_LINES
        lines = [*lines[:REASON_LINES], f"{ELLIPSIS} and {more} more lines"]
    shown = "\n".join(lines)
    cut = shown if len(shown) <= REASON_LENGTH else shown[:REASON_LENGTH] + ELLIPSIS
    return printable(cut, 4 * REASON_LENGTH, lines=True)


def missing_attribute(attribute: Attribute, printed: str) -> EvaluationError | None:
    """The error if the attribute lacks what makes it a system or an image; else None."""
    found = _OWN_MISSING.search(printed)
    if found is None:
        return None
    path = attributes.display_path(attribute)
    needed = [f"config.system.build.{name}" for name in ("metadata", "squashfs", "toplevel")]
    lacks = next((one for one in needed if one.endswith(f".{found[1]}")), found[1])
    detail = f"{path} has no {lacks}"
    if isinstance(attribute, IncusImage):
        remedy = "import NixOS's lxc-container.nix in it, or name another `image`"
        return EvaluationError(message("not an Incus image", attribute.name, detail, remedy))
    remedy = f"make it with nixpkgs.lib.nixosSystem, or set {attributes.config_key(attribute)}"
    return EvaluationError(message("not a NixOS system", attribute.name, detail, remedy))


def unusable(attribute: Attribute, paths: Mapping[str, Any]) -> EvaluationError:
    """The error for an attribute that evaluates to something else than a known store path."""
    path, key = attributes.display_path(attribute), attributes.config_key(attribute)
    outputs = [printable(str(one)) for one in paths.get("outputs") or ()]
    if not paths.get("drv"):
        what, detail = "not a derivation", f"{path} is something else, such as a set of packages"
        remedy = f"set {key} to the name of a derivation"
    elif outputs and "out" not in outputs:
        what = "no output out"
        detail = f"{path} has the outputs {', '.join(outputs)}, and none of them is out"
        remedy = f"set {key} to one that has it, or add out to its outputs"
    else:
        what = "no store path before the build"
        detail = f"{path}, or what it is built from, is content-addressed or impure"
        remedy = (
            "a release needs paths that are known from evaluation: build it without "
            "`__contentAddressed` (`contentAddressedByDefault` of nixpkgs) and `__impure`"
        )
    return EvaluationError(message(what, attribute.name, detail, remedy))
