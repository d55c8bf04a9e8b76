"""What is done to a host out of band: kill, freeze, restart, fill, and waiting for a moment."""

import time
from dataclasses import dataclass

from harness.hosts import ContainerHost
from harness.incus import HarnessError
from tests.faults import vector
from tests.faults.vector import Vector

PATIENCE = 40.0
"""Seconds for a moment to come."""
STATE = "/nix/var/flakeup/current/state"
PHASES = "/run/fake/phase"


def in_phase(name: str, after: int) -> str:
    """The shell condition for a phase of `switch-to-configuration` beyond the first `after`."""
    return f"tail -n +{after + 1} {PHASES} 2>/dev/null | grep -q '^phase {name} '"


def is_running(pattern: str) -> str:
    """The shell condition for a process whose arguments match."""
    return f"pgrep -f {itself_not(pattern)} >/dev/null"


def itself_not(pattern: str) -> str:
    """A pattern that does not match the command line that it stands in."""
    return f"'[{pattern[0]}]{pattern[1:]}'"


@dataclass(frozen=True, slots=True, kw_only=True)
class Grip:
    """A hold on a host that needs neither its network nor its sshd."""

    host: ContainerHost

    def sh(self, script: str, *, timeout: float = 30) -> str:
        """Run a shell script in it as root.

        Raises:
            HarnessError: it failed.
        """
        return self.host.exec("sh", "-c", script, timeout=timeout)

    def ask(self, script: str) -> str:
        """What a shell script prints: asked again where the answer was lost on the way.

        Seen more than once: `incus exec` ended well, and had lost the output.
        """
        for _ in range(5):
            text = self.sh(f"{{ {script}; }}; echo end-of-answer")
            if "end-of-answer" in text:
                return text.replace("end-of-answer\n", "").strip()
        msg = f"no answer from {self.host.name} to: {script}"
        raise HarnessError(msg)

    def tries(self, script: str) -> bool:
        """Whether a script ends well; a host that is down makes it fail too."""
        try:
            self.sh(script)
        except HarnessError:
            return False
        return True

    def incus(self, verb: str, *words: str) -> None:
        """Such as `incus restart --force`."""
        self.host.incus.call(verb, self.host.instance, *words)

    # --- moments ---------------------------------------------------------------------------

    def until(self, condition: str, seconds: float = PATIENCE, then: str = "true") -> str:
        """Wait inside the host until a shell condition holds, within 20 ms of it; then run `then`.

        What `then` prints is given back, unless it was lost on the way.
        """
        count = f"n=$((n+1)); [ $n -lt {int(seconds / 0.02)} ] || exit 9"
        try:
            return self.sh(
                f"n=0; until {condition}; do {count}; sleep 0.02; done; {then}", timeout=3 * seconds
            )
        except HarnessError as error:
            if "status 9" not in str(error):
                raise
            msg = f"after {seconds:g} s it was never so on the host: {condition}"
            raise AssertionError(msg) from None

    def phases(self) -> int:
        """How many phases the switches on this host have gone through since its boot."""
        return int(self.ask(f"cat {PHASES} 2>/dev/null | wc -l"))

    def phases_after(self, count: int) -> list[list[str]]:
        """The phases beyond the first `count`: name, seconds since 1970 and system of each."""
        lines = self.ask(f"tail -n +{count + 1} {PHASES} 2>/dev/null").splitlines()
        return [line.split()[1:] for line in lines]

    def until_state(self, attempt: str, *states: str, seconds: float = PATIENCE) -> None:
        """Wait until an attempt other than `attempt` is in one of the states."""
        pattern = "|".join(states)
        other = f'[ "$(readlink /nix/var/flakeup/current)" != "attempts/{attempt}" ]'
        self.until(f"{other} && grep -qxE '{pattern}' {STATE}", seconds)

    # --- harm ------------------------------------------------------------------------------

    def kill(self, pattern: str, signal: str = "KILL") -> bool:
        """Send a signal to all whose arguments match; whether there were any."""
        return self.tries(f"pkill -{signal} -f {itself_not(pattern)}")

    def kill_at(
        self, condition: str, seconds: float, pattern: str, signal: str = "KILL"
    ) -> float | None:
        """The same so many seconds after a condition holds; when, or None if nothing was there.

        All of it inside the host: a moment is not missed on the way there.
        """
        shot = f"date +%s.%N; pkill -{signal} -f {itself_not(pattern)} || echo missed"
        words = self.until(condition, then=f"sleep {seconds:.3f}; {shot}").split()
        if "missed" in words:
            return None
        return float(words[0]) if words else time.time()

    def kill_sessions(self) -> bool:
        """End all ssh connections at the host's side; the sshd that listens stays."""
        return self.kill("sshd(-session)?: .*@")

    def restart(self) -> None:
        """Cut the power, switch it on, and wait until the boot default is active."""
        self.incus("restart", "--force")
        self.started()

    def started(self) -> None:
        """Wait until the host has activated its boot default, and lets sessions in."""
        end = time.monotonic() + PATIENCE
        ready = (
            "systemctl is-active -q nixos-boot.service ssh.service && ip route | grep -q default"
        )
        while not self.tries(ready):
            assert time.monotonic() < end, f"{self.host.name} has not come up again"
            time.sleep(0.2)

    def look(self) -> Vector:
        return vector.look(self.host)
