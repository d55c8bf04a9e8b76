"""The state of a host, seen without ssh and without a word of the program: `incus exec` alone."""

from dataclasses import dataclass
from typing import Final

from harness.hosts import ContainerHost

TERMINAL: Final = frozenset(
    {"", "committed", "rolled-back", "rollback-failed", "blocked", "superseded", "unchanged"}
)
"""States of an attempt in which nothing of it is under way; no attempt at all is one of them."""
AHEAD: Final = "the profile is at"
_LOOK: Final = r"""
say() { printf '%s=%s\n' "$1" "$2"; }
line() { tr '\n' ' ' | sed 's/ *$//'; }
say bootId "$(cat /proc/sys/kernel/random/boot_id)"
say current "$(readlink -e /run/current-system)"
say profile "$(readlink -e /nix/var/nix/profiles/system)"
entry=$(sed -n 's/^default //p' /boot/loader/loader.conf 2>/dev/null)
say boot "$(sed -n 's|^options init=\(/nix/store/[^/]*\)/init.*|\1|p' \
    "/boot/loader/entries/$entry" 2>/dev/null)"
attempt=/nix/var/flakeup/current
say attempt "$(readlink $attempt)"
for name in state old new boot-id; do say "$name" "$(cat $attempt/$name 2>/dev/null)"; done
say changed "$(stat -c %.Y $attempt/state 2>/dev/null)"
say units "$(systemctl list-units --all --plain --no-legend --full 'flakeup-*' |
    awk '$3 != "inactive" { print $1 ":" $3 }' | line)"
say failed "$(systemctl list-units --plain --no-legend --full --state=failed |
    cut -d' ' -f1 | line)"
say booting "$(systemctl is-active nixos-boot.service)"
say booted "$(systemctl show --timestamp=unix -P ActiveEnterTimestamp nixos-boot.service)"
say lock "$([ ! -e /run/flakeup/lock ] || flock -n /run/flakeup/lock true && echo free)"
say valid "$(nix-store --check-validity \
    "$(readlink -e /run/current-system)" 2>&1 && echo yes)"
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Vector:
    """What a host is at one moment; store paths are texts, empty where there is none."""

    boot_id: str
    current: str
    profile: str
    boot: str
    """The system of the boot loader's default entry."""
    attempt: str
    state: str
    """Of the attempt that the host remembers."""
    old: str
    new: str
    attempt_boot_id: str
    changed: float
    """When the attempt entered its state, seconds since 1970; 0 without an attempt."""
    units: tuple[str, ...]
    """Units and timers of the guard that systemd still has, as `name:state`."""
    failed: tuple[str, ...]
    booting: bool
    booted: float
    """When the host had activated its boot default, seconds since 1970."""
    lock_free: bool
    valid: bool
    """Whether nix knows the closure of the running system as whole."""

    @property
    def pending(self) -> str:
        """The state of an attempt that has not ended; a reboot ends every attempt."""
        return "" if self.attempt_boot_id != self.boot_id else self._unless_terminal()

    def _unless_terminal(self) -> str:
        return "" if self.state in TERMINAL else self.state

    @property
    def rests(self) -> bool:
        """Whether nothing is under way any more."""
        return not (self.pending or self.units or self.booting)

    def unclean(self) -> list[str]:
        """What has been left behind, in words."""
        found = [
            (self.pending, f"an attempt is pending in state {self.pending}"),
            (self.units, f"units of the guard are left: {', '.join(self.units)}"),
            (self.booting, "the host has not finished its start"),
            (not self.lock_free, "the lock is held"),
            (not self.valid, f"{self.current} is not valid in the store"),
            (self.current != self.boot, f"it runs {self.current}, and boots {self.boot}"),
            (self.boot != self.profile, f"{AHEAD} {self.profile}, and it boots {self.boot}"),
        ]
        return [text for wrong, text in found if wrong]


def look(host: ContainerHost) -> Vector:
    """The vector of a host, as it is now.

    Raises:
        HarnessError: it cannot be looked at: it is stopped, or frozen.
    """
    said: dict[str, str] = {}
    # Seen once: `incus exec` ended well and had lost the output.
    while "valid" not in said:
        lines = host.exec("sh", "-c", _LOOK, timeout=20).splitlines()
        said = dict(line.split("=", 1) for line in lines if "=" in line)
    return Vector(
        boot_id=said["bootId"],
        current=said["current"],
        profile=said["profile"],
        boot=said["boot"],
        attempt=said["attempt"].rpartition("/")[2],
        state=said["state"],
        old=said["old"],
        new=said["new"],
        attempt_boot_id=said["boot-id"],
        changed=float(said["changed"] or 0),
        units=tuple(said["units"].split()),
        failed=tuple(said["failed"].split()),
        booting=said["booting"] == "activating",
        booted=float(said["booted"].removeprefix("@") or 0),
        lock_free=said["lock"] == "free",
        valid=said["valid"].endswith("yes"),
    )
