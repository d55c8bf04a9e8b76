"""Out-of-band access to a host: run scripts, kill processes, cut the power, wait for a moment."""

import time
from dataclasses import dataclass

from harness.hosts import ContainerHost
from harness.incus import HarnessError
from tests.faults.host_snapshot import HostSnapshot, take_snapshot

TIMEOUT = 90.0
_REACHABLE = "systemctl is-active -q ssh.service && ip route | grep -q default"
"""Seconds to wait for a condition."""
STATE = "/nix/var/flakeup/current/state"
PHASES = "/run/fake/phase"
PROFILE = "/nix/var/nix/profiles/system"
SWITCH_LOCK = "/run/nixos/switch-to-configuration.lock"
"""NixOS's own lock: each switch holds it."""


def in_phase(name: str, after: int, system: str = "") -> str:
    """A shell condition: a switch has entered a phase, not counting `after`.

    `system` is the one that it switches to, if any other does not count.
    """
    line = f"^phase {name} .* {system}$" if system else f"^phase {name} "
    return f"tail -n +{after + 1} {PHASES} 2>/dev/null | grep -q '{line}'"


def is_running(pattern: str) -> str:
    """A shell condition: a process whose command line matches is running."""
    return f"pgrep -f {not_self(pattern)} >/dev/null"


def not_self(pattern: str) -> str:
    """A pattern that does not match the command line in which it is used."""
    return f"'[{pattern[0]}]{pattern[1:]}'"


@dataclass(frozen=True, slots=True, kw_only=True)
class HostShell:
    """A root shell on a host that needs neither its network nor its sshd."""

    container: ContainerHost

    def run(self, script: str, *, timeout: float = 30) -> str:
        """Run a shell script on the host as root, and return its stdout.

        Raises:
            HarnessError: it failed.
        """
        return self.container.exec("sh", "-c", script, timeout=timeout)

    def output(self, script: str) -> str:
        """The stripped output of a shell script that only reads, whatever its exit status.

        Where Incus loses the output, the script is run again (Incus.query).
        """
        return self.container.query("sh", "-c", f"{{ {script}; }} || true").strip()

    def succeeds(self, script: str) -> bool:
        """Whether a script succeeds; it does not on a host that is down."""
        try:
            self.run(script)
        except HarnessError:
            return False
        return True

    def incus(self, verb: str, *words: str) -> None:
        """Run an `incus` command on the container, such as `restart --force`."""
        self.container.incus.call(verb, self.container.instance, *words)

    # --- waiting ---------------------------------------------------------------------------

    def wait_until(self, condition: str, seconds: float = TIMEOUT, then: str = "true") -> str:
        """Poll a shell condition on the host every 20 ms until it holds, then run `then`.

        Returns what `then` prints, or nothing if Incus loses it.
        """
        count = f"n=$((n+1)); [ $n -lt {int(seconds / 0.02)} ] || exit 9"
        try:
            return self.run(
                f"n=0; until {condition}; do {count}; sleep 0.02; done; {then}", timeout=3 * seconds
            )
        except HarnessError as error:
            if "status 9" not in str(error):
                raise
            msg = f"on the host, not within {seconds:g} s: {condition}"
            raise AssertionError(msg) from None

    def phase_count(self) -> int:
        """The number of phases that switches on this host have entered since it booted."""
        return int(self.output(f"cat {PHASES} 2>/dev/null | wc -l"))

    def phases_after(self, count: int) -> list[list[str]]:
        """The phases after the first `count`: name, seconds since 1970 and system of each."""
        lines = self.output(f"tail -n +{count + 1} {PHASES} 2>/dev/null").splitlines()
        return [line.split()[1:] for line in lines]

    def wait_for_state(self, attempt: str, *states: str, seconds: float = TIMEOUT) -> None:
        """Wait until an attempt other than `attempt` is in one of the states."""
        pattern = "|".join(states)
        other = f'[ "$(readlink /nix/var/flakeup/current)" != "attempts/{attempt}" ]'
        self.wait_until(f"{other} && grep -qxE '{pattern}' {STATE}", seconds)

    # --- faults ----------------------------------------------------------------------------

    def kill(self, pattern: str, signal: str = "KILL") -> bool:
        """Send a signal to all processes whose command lines match; whether there were any."""
        return self.succeeds(f"pkill -{signal} -f {not_self(pattern)}")

    def kill_at(
        self, condition: str, seconds: float, pattern: str, signal: str = "KILL"
    ) -> float | None:
        """Do so some seconds after a condition holds; returns when, or None if nothing matched.

        All of it runs on the host, so that no round trip makes it miss the moment.
        """
        shot = f"date +%s.%N; pkill -{signal} -f {not_self(pattern)} || echo missed"
        words = self.wait_until(condition, then=f"sleep {seconds:.3f}; {shot}").split()
        if "missed" in words:
            return None
        return float(words[0]) if words else time.time()

    def kill_sessions(self) -> bool:
        """Kill all ssh sessions on the host, but not the listening sshd."""
        return self.kill("sshd(-session)?: .*@")

    def power_cycle(self) -> None:
        """Cut the power, switch it on again, and wait until the boot default is active."""
        self.incus("restart", "--force")
        self.wait_until_booted()

    def soft_reboot(self) -> None:
        """Restart the userspace alone, and wait as after a power cycle."""
        began = "systemctl show --property=UserspaceTimestampMonotonic --value"
        before = self.output(began)
        self.succeeds("systemctl soft-reboot")  # it ends with the connection
        end = time.monotonic() + TIMEOUT
        while not self.succeeds(f'test "$({began})" != {before}'):
            assert time.monotonic() < end, f"{self.container.name} was not rebooted"
            time.sleep(0.2)
        self.wait_until_booted()

    def wait_until_booted(self) -> None:
        """Wait until the host has activated its boot default and accepts ssh connections."""
        self._wait(f"systemctl is-active -q nixos-boot.service && {_REACHABLE}")

    def wait_until_reachable(self) -> None:
        """Wait until the host, whose link was down, accepts ssh connections."""
        self._wait(_REACHABLE)

    def _wait(self, condition: str) -> None:
        end = time.monotonic() + TIMEOUT
        while not self.succeeds(condition):
            assert time.monotonic() < end, f"{self.container.name} has not come up again"
            time.sleep(0.2)

    def snapshot(self) -> HostSnapshot:
        return take_snapshot(self.container)
