"""What nix says where no machine can build a derivation, and what to do about it."""

import re
from typing import Final

_SYSTEM: Final = r"'(?P<system>[\w-]+)' with features \{(?P<features>[^}]*)\}"
_OWN: Final = r"'(?P<own>[\w-]+)' with features \{(?P<offered>[^}]*)\}"
_DRV: Final = r"'(?P<drv>/nix/store/[^']+)'"
_TEXTS: Final = (
    re.compile(rf"a {_SYSTEM} is required to build {_DRV}, but I am a {_OWN}"),
    # From nix 2.30 on, over several lines.
    re.compile(
        rf"Cannot build {_DRV}\.\s+Reason: required system or feature not available"
        rf"\s+Required system: {_SYSTEM}\s+Current system: {_OWN}"
    ),
)


def explain_missing_builder(printed: str) -> tuple[str, str] | None:
    """The detail and the remedy if nix found no builder; else None."""
    found = next((it for text in _TEXTS if (it := text.search(printed))), None)
    if found is None:
        return None
    system, own = found["system"], found["own"]
    if system != own:
        detail = f"{found['drv']} is for {system}, and this machine builds {own}"
        remedy = (
            f"name a remote builder for {system} (`builders` in nix.conf, `nix.buildMachines` of "
            "NixOS), or emulate it here (`boot.binfmt.emulatedSystems` of NixOS; elsewhere binfmt, "
            f"and `extra-platforms = {system}` in nix.conf)"
        )
        return detail, remedy
    offered = _words(found["offered"])
    lacking = ", ".join(one for one in _words(found["features"]) if one not in offered)
    detail = f"{found['drv']} needs a builder with {lacking}, and this machine has none"
    remedy = (
        f"name a remote builder with {lacking} (`builders` in nix.conf, `nix.buildMachines` of "
        "NixOS), or add it to `system-features` in nix.conf if this machine has it"
    )
    return detail, remedy


def _words(listed: str) -> list[str]:
    return re.findall(r"[^,\s]+", listed)
