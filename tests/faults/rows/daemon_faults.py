"""Faults of a daemon, or of its deployer, at a random moment of each step of an `up`."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from harness.command_result import CommandResult
from tests.e2e.stack import Engine
from tests.faults.target import TargetScenario


@dataclass(frozen=True, slots=True, kw_only=True)
class DaemonFaults:
    """The injections that Docker and Incus have in common."""

    image: str
    """The request that uploads the image, as a pattern for the proxy."""
    steps: tuple[str, ...]
    """A request of each step, as patterns."""
    after: float
    """Most seconds from a step's request to the fault."""

    def image_cut(self, scenario: TargetScenario) -> CommandResult:
        """Cut the connection in the middle of the image; the daemon is soon back."""
        with scenario.deploying() as engine:
            scenario.proxy.disconnect(
                self.image, when="middle", seconds=scenario.random.uniform(0.1, 3)
            ).wait()
            scenario.mark_fault()
            return engine.wait()

    def restarted(self, scenario: TargetScenario) -> CommandResult:
        """Restart the daemon, as an update of the machine does."""
        return self._killed_by(scenario, signal.SIGTERM)

    def killed(self, scenario: TargetScenario) -> CommandResult:
        """Kill the daemon, as the OOM killer does."""
        return self._killed_by(scenario, signal.SIGKILL)

    def _killed_by(self, scenario: TargetScenario, number: int) -> CommandResult:
        with self.at_step(scenario) as engine:
            scenario.restart_daemon(number, scenario.random.uniform(0, 2))
            return engine.wait()

    def deployer_killed(self, scenario: TargetScenario) -> None:
        """Kill the engine and its descendants."""
        scenario.cancel_on_cleanup()
        with self.at_step(scenario) as engine:
            scenario.mark_fault()
            engine.kill()
        scenario.upload_was_killed = scenario.request == self.image

    @contextmanager
    def at_step(self, scenario: TargetScenario) -> Iterator[Engine]:
        """An `up` at a random moment of a step; the block injects the fault."""
        with scenario.deploying() as engine:
            scenario.wait_for_one_of(*self.steps)
            scenario.sleep_random(0, self.after)
            yield engine
