"""What of a release takes effect at a boot only, from the build texts of two toplevels."""

import re

from .attribute import EvaluatedAttr
from .derivation import Derivation, nearest

_LINK = re.compile(
    r'^\s*ln -s\S* "?(?P<target>[^\s"]+)"? "?\$out/(?P<name>[\w-]+)"?\s*$', re.MULTILINE
)
_INIT_INTERFACE = re.compile(
    r'^\s*echo -n "(?P<version>[^"]*)" > "?\$out/init-interface-version"?\s*$', re.MULTILINE
)
"""As nixpkgs writes them (nixos/modules/system: activation/top-level.nix, boot/kernel.nix)."""
_LINKED = {
    "kernel": "kernel",
    "initrd": "initrd",
    "kernel-modules": "kernel modules",
    "dtbs": "device tree",
}
"""Links of a toplevel; whatever the kernel is called, it is what `kernel` leads to."""


def boot_changes(old: EvaluatedAttr, new: EvaluatedAttr) -> tuple[str, ...]:
    """What differs, and only a boot can change.

    NixOS's `switch-to-configuration` refuses to switch to another init interface. It ignores all
    other reasons for a reboot: those are activated, and take effect at the next boot.
    """
    before, after = _boot_parts(old), _boot_parts(new)
    return tuple(part for part in after if before[part] != after[part])


def _boot_parts(system: EvaluatedAttr) -> dict[str, str | None]:
    toplevel = nearest(system.drv_path, _is_toplevel)
    commands = _commands(toplevel) if toplevel else ""
    links = {link["name"]: link["target"] for link in _LINK.finditer(commands)}
    parts = {what: links.get(name) for name, what in _LINKED.items()}
    init = _INIT_INTERFACE.search(commands)
    return parts | {
        "kernel parameters": toplevel.variable("kernelParams") if toplevel else None,
        "init interface": init["version"] if init else None,
    }


def _is_toplevel(drv: Derivation) -> bool:
    """With `system.replaceDependencies`, the toplevel is a copy of the one with these commands."""
    return _INIT_INTERFACE.search(_commands(drv)) is not None


def _commands(drv: Derivation) -> str:
    return drv.variable("buildCommand") or ""
