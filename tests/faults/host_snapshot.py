"""The state of a host, read by `incus exec`: without ssh, and without the program's own code."""

from dataclasses import dataclass
from typing import Final

from harness.hosts import ContainerHost

TERMINAL: Final = frozenset(
    {"", "committed", "rolled-back", "rollback-failed", "blocked", "superseded", "unchanged"}
)
"""States of an attempt that is over; the empty one is that of a host without any attempt."""
FAILED: Final = "rollback-failed"
"""A way back that failed; while the host tries it again, its unit is active."""
PROFILE_AHEAD: Final = "the profile is at"
"""How the problem begins that a torn commit may leave."""
_SCRIPT: Final = r"""
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
say units "$({ systemctl list-units --all --plain --no-legend --full 'flakeup-*' ||
    echo systemd loaded silent; } | awk '$3 != "inactive" { print $1 ":" $3 }' | line)"
say failed "$(systemctl list-units --plain --no-legend --full --state=failed |
    cut -d' ' -f1 | line)"
say booting "$(systemctl is-active nixos-boot.service)"
say booted "$(systemctl show --timestamp=unix -P ActiveEnterTimestamp nixos-boot.service)"
say lock "$([ ! -e /run/flakeup/lock ] || flock -n /run/flakeup/lock true && echo free)"
wants=/run/current-system/etc/systemd/system
say stopped "$(for unit in dbus.socket dbus.service "$wants"/*.target.wants/*; do
    unit=${unit##*/}
    case $(systemctl is-active -- "$unit") in inactive | deactivating) echo "$unit" ;; esac
done | line)"
say valid "$(nix-store --check-validity \
    "$(readlink -e /run/current-system)" 2>&1 && echo yes)"
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostSnapshot:
    """The state of a host at one moment; store paths are strings, empty where there is none."""

    boot_id: str
    current: str
    profile: str
    boot: str
    """The system in the boot loader's default entry."""
    attempt: str
    state: str
    """Of the latest attempt recorded on the host."""
    old: str
    new: str
    attempt_boot_id: str
    changed: float
    """When the attempt entered its state, in seconds since 1970; 0 without an attempt."""
    units: tuple[str, ...]
    """Services and timers of the guard that systemd still knows, as `name:state`."""
    failed: tuple[str, ...]
    stopped: tuple[str, ...]
    """Units that the running system wants, and D-Bus, where they are not running."""
    booting: bool
    booted: float
    """When the host had activated its boot default, in seconds since 1970."""
    lock_free: bool
    valid: bool
    """Whether the running system is a valid path in the nix store."""

    @property
    def pending(self) -> str:
        """The state of an attempt in progress, or empty; a reboot ends every attempt."""
        return "" if self.attempt_boot_id != self.boot_id else self._unless_terminal()

    def _unless_terminal(self) -> str:
        return "" if self.state in TERMINAL else self.state

    @property
    def idle(self) -> bool:
        """Whether nothing is in progress any more."""
        return not (self.pending or self.units or self.booting)

    def problems(self) -> list[str]:
        """What an attempt has left behind, one sentence each."""
        found = [
            (self.pending, f"an attempt is still in state {self.pending}"),
            (self.units, f"units of the guard remain: {', '.join(self.units)}"),
            (self.state == FAILED, "its rollback has failed, and was not tried again"),
            (self.booting, "the host has not finished booting"),
            (not self.lock_free, "the lock is held"),
            (self.stopped, f"units of its system are stopped: {', '.join(self.stopped)}"),
            (not self.valid, f"{self.current} is not valid in the store"),
            (self.current != self.boot, f"it runs {self.current}, but boots {self.boot}"),
            (
                self.boot != self.profile,
                f"{PROFILE_AHEAD} {self.profile}, but it boots {self.boot}",
            ),
        ]
        return [text for wrong, text in found if wrong]


def take_snapshot(container: ContainerHost) -> HostSnapshot:
    """Read the state of a host as it is now.

    Raises:
        HarnessError: it cannot be read, as the container is stopped or frozen.
    """
    fields: dict[str, str] = {}
    # `incus exec` has been seen to succeed and lose its output.
    while "valid" not in fields:
        lines = container.exec("sh", "-c", _SCRIPT, timeout=20).splitlines()
        fields = dict(line.split("=", 1) for line in lines if "=" in line)
    return HostSnapshot(
        boot_id=fields["bootId"],
        current=fields["current"],
        profile=fields["profile"],
        boot=fields["boot"],
        attempt=fields["attempt"].rpartition("/")[2],
        state=fields["state"],
        old=fields["old"],
        new=fields["new"],
        attempt_boot_id=fields["boot-id"],
        changed=float(fields["changed"] or 0),
        units=tuple(fields["units"].split()),
        failed=tuple(fields["failed"].split()),
        stopped=tuple(fields["stopped"].split()),
        booting=fields["booting"] == "activating",
        booted=float(fields["booted"].removeprefix("@") or 0),
        lock_free=fields["lock"] == "free",
        valid=fields["valid"].endswith("yes"),
    )
