"""A stack that makes itself what it deploys to, on a daemon of the run's own.

One injection is a scene: OLD is what there is before, NEW the release of the scene. Whatever was
done, the next `up` converges, the one after it changes nothing, and what exists is exactly what is
to exist: the daemon is the run's own, so all that is in it counts.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from random import Random
from subprocess import SubprocessError
from typing import Any, Final, Protocol

from harness.command_result import CommandResult, Json
from harness.daemons.dockerd import RefusedError as DockerRefusedError
from harness.daemons.incusd import RefusedError as IncusRefusedError
from harness.incus import HarnessError
from tests.e2e.stack import Engine, Workspace
from tests.faults.row import Ending, Row
from tests.faults.run import Result, judge_words, words_of

UP: Final = ("up", "--yes", "--skip-preview")
TROUBLES: Final = (
    AssertionError,
    HarnessError,
    DockerRefusedError,
    IncusRefusedError,
    OSError,
    SubprocessError,
    ValueError,
)


class Trouble(Protocol):
    """What a proxy does to a request."""

    def wait(self, seconds: float = ...) -> None:
        """Wait until it has happened."""


class Proxy(Protocol):
    """What is between the deployer and the daemon: tests.contract has one of each kind."""

    def slow(self, pattern: str, seconds: float, *, times: int = ...) -> Trouble:
        """Hold such a request up."""

    def away(self, pattern: str, *, when: str = ..., seconds: float = ...) -> Trouble:
        """Be gone for some seconds at such a request."""

    def forget(self) -> None:
        """Let all pass from here on."""

    def gone(self) -> AbstractContextManager[None]:
        """Nobody answers in the block."""


class Daemon(Protocol):
    """What is the run's own: tests.contract has one of each kind."""

    @property
    def runs(self) -> bool:
        """Whether it has been started, and not ended."""

    def kill(self, number: int = ...) -> None:
        """End it."""

    def start(self) -> None:
        """Start it, and wait until it answers."""


@dataclass(slots=True, kw_only=True)
class TargetScene:
    """One injection: what a row's `play` is given."""

    workspace: Workspace
    proxy: Proxy
    daemon: Daemon
    row: Row
    seed: int
    random: Random
    new: str
    """The release of this scene."""
    undo: ExitStack = field(default_factory=ExitStack)
    """What takes the harm away; called when the play is over."""
    began: float = field(default_factory=time.monotonic)
    fault: float = 0.0
    """When the harm was done; 0 where the configuration is the harm."""
    notes: list[str] = field(default_factory=list)

    @contextmanager
    def going(self, **config: Any) -> Iterator[Engine]:
        """An `up` of the new release, with some keys of the config changed."""
        self.workspace.write(**{"appRef": self.new, **config})
        with self.workspace.running(*UP) as engine:
            yield engine

    def deploy(self, **config: Any) -> CommandResult:
        with self.going(**config) as engine:
            return engine.end()

    def reach(self, *requests: str) -> None:
        """Wait until the deployer comes to one of the requests, by the seed: each has its turn."""
        request = requests[self.seed % len(requests)]
        self.notes.append(request)
        self.proxy.slow(request, 0).wait(90)

    def wait(self, least: float, most: float) -> None:
        """Sleep for a time that the seed decides."""
        seconds = self.random.uniform(least, most)
        self.notes.append(f"after {seconds:.2f} s")
        time.sleep(seconds)

    def mark(self) -> None:
        """The harm is done now."""
        self.fault = self.fault or time.monotonic()

    def restart(self, number: int, seconds: float = 0.0) -> None:
        """End the daemon by a signal, and start it again after a while."""
        with self.proxy.gone():
            self.mark()
            self.daemon.kill(number)
            time.sleep(seconds)
            self.daemon.start()

    def cancel(self) -> None:
        """What a person does after an `up` that was killed, before the next one."""

        def cancel() -> None:
            if self.workspace.cancel():
                self.notes.append("an empty .attrs file beside the engine's state was removed")

        self.undo.callback(cancel)


@dataclass(slots=True, kw_only=True)
class Target(ABC):
    """The daemon, the stack, and what there is to see of both, past the deployer."""

    name: str
    daemon: Daemon
    lost: str = ""
    """Why no row may be played here any more."""

    def play(self, row: Row, seed: int) -> Result:
        """Play a row, and judge how it ended."""
        began = time.monotonic()
        troubles: list[str] = []
        scene, ended, seconds = None, Ending.BETWEEN, 0.0
        try:
            assert not self.lost, f"given up: {self.lost}"
            scene = self.scene(row, seed)
            with self.watching(scene):
                result = _harm(scene, troubles)
                ended, seconds = self.ending(scene, troubles)
            troubles += _judge(row, result, ended, seconds)
            self._converge(scene, ended, troubles)
        except TROUBLES as error:
            troubles.append(f"{type(error).__name__}: {error}")
        if troubles and not self.lost:
            self._recover(scene, troubles)
        return Result(
            id=row.id,
            seed=seed,
            host=self.name,
            expected=row.expected,
            ended=ended,
            seconds=seconds,
            ok=not troubles,
            detail="\n".join((*troubles, *(scene.notes if scene else ()))),
            total=time.monotonic() - began,
        )

    def _converge(self, scene: Any, ended: Ending, troubles: list[str]) -> None:
        mended = self.mend(scene, ended)
        found = [f"mended, and yet: {words_of(mended)}"] if mended.code else self.amiss(scene)
        before = self.there()
        again = self.repeat(scene)
        if again.code or set(again.summary()) != {"unchanged"}:
            found.append(f"once more, and it had something to do: {words_of(again)}")
        if (after := self.there()) != before:
            changed = [f"{key}: {before[key]} → {after[key]}" for key in before
                       if before[key] != after[key]]  # fmt: skip
            found.append(f"once more, and something has changed: {'; '.join(changed)}")
        found += self.leave(scene)
        troubles += [f"after the mending: {text}" for text in found]

    def _recover(self, scene: TargetScene | None, troubles: list[str]) -> None:
        """Bring it back to what the next row begins with."""
        try:
            if scene:
                scene.undo.close()
            if not self.daemon.runs:
                self.daemon.start()
            self.reset()
        except TROUBLES as error:
            self.lost = str(error)
            troubles.append(f"recovery: {error}")

    @abstractmethod
    def scene(self, row: Row, seed: int) -> Any:
        """Begin an injection: all is as it has to be before one."""

    @abstractmethod
    def watching(self, scene: Any) -> AbstractContextManager[object]:
        """Whoever looks on while the row is played, as a context."""

    @abstractmethod
    def ending(self, scene: Any, troubles: list[str]) -> tuple[Ending, float]:
        """How it ended, once nothing is under way, and after how many seconds."""

    @abstractmethod
    def mend(self, scene: Any, ended: Ending) -> CommandResult:
        """The next `up`, without the fault."""

    @abstractmethod
    def repeat(self, scene: Any) -> CommandResult:
        """One more `up`."""

    @abstractmethod
    def amiss(self, scene: Any) -> list[str]:
        """What is not exactly as it has to be, after an `up` that went well."""

    @abstractmethod
    def there(self) -> Json:
        """All that exists, by kind."""

    @abstractmethod
    def leave(self, scene: Any) -> list[str]:
        """What is to be done at the end of an injection; what was wrong then."""

    @abstractmethod
    def reset(self) -> None:
        """Bring all back to what an injection begins with, whatever there is now."""


def _harm(scene: TargetScene, troubles: list[str]) -> CommandResult | None:
    play: Callable[[Any], CommandResult | None] = scene.row.play
    try:
        with scene.undo:
            return play(scene)
    except TROUBLES as error:
        troubles.append(f"in the play: {type(error).__name__}: {error}")
        return None
    finally:
        scene.proxy.forget()


def _judge(row: Row, result: CommandResult | None, ended: Ending, seconds: float) -> list[str]:
    troubles = []
    if ended is Ending.BETWEEN or row.expected not in {ended, Ending.EITHER}:
        troubles.append(f"it ended {ended}, not {row.expected}")
        troubles += [f"it said: {words_of(result)}"] if result else []
    if result:
        troubles += judge_words(row, result, ended)
        if "Traceback" in result.text:
            troubles.append(f"a traceback: {result.text[-2000:]}")
    if seconds > row.within:
        troubles.append(f"it took {seconds:.1f} s, and may take {row.within:g} s")
    return troubles


def differences(what: str, found: Any, wanted: Any) -> list[str]:
    """What is there, where it is not what has to be there."""
    return [] if found == wanted else [f"{what}: {found}, and not {wanted}"]
