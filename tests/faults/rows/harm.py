"""Harm to a daemon, or to whoever deploys to it, at a random moment of each step of an `up`."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from harness.command_result import CommandResult
from tests.e2e.stack import Engine
from tests.faults.target import TargetScene


@dataclass(frozen=True, slots=True, kw_only=True)
class Harm:
    """Plays of rows that the kinds of daemons have in common."""

    image: str
    """The request that carries the image, as the proxy before the daemon knows it."""
    steps: tuple[str, ...]
    """One of each step."""
    after: float
    """Seconds after a step's request up to which the harm comes."""

    def image_cut(self, scene: TargetScene) -> CommandResult:
        """In the middle of the image; the daemon answers again after a moment."""
        with scene.going() as engine:
            scene.proxy.away(self.image, when="middle", seconds=scene.random.uniform(0.1, 3)).wait()
            scene.mark()
            return engine.end()

    def restarted(self, scene: TargetScene) -> CommandResult:
        """As by an update of the machine."""
        return self._ended(scene, signal.SIGTERM)

    def killed(self, scene: TargetScene) -> CommandResult:
        """As when its memory is at an end."""
        return self._ended(scene, signal.SIGKILL)

    def _ended(self, scene: TargetScene, number: int) -> CommandResult:
        with self.step(scene) as engine:
            scene.restart(number, scene.random.uniform(0, 2))
            return engine.end()

    def deployer_killed(self, scene: TargetScene) -> None:
        """KILL for the engine and all it has started."""
        scene.cancel()
        with self.step(scene) as engine:
            scene.mark()
            engine.kill()

    @contextmanager
    def step(self, scene: TargetScene) -> Iterator[Engine]:
        """An `up` that has come to the moment; the block does the harm."""
        with scene.going() as engine:
            scene.reach(*self.steps)
            scene.wait(0, self.after)
            yield engine
