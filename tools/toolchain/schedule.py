"""Makes missing parts in parallel, each after those it needs."""

import threading
import time
import traceback
from collections.abc import Mapping, Sequence

from toolchain.part import Found, Part
from toolchain.paths import LOGS
from toolchain.report import Report
from toolchain.work import AGAIN, INTERRUPTED, Missing, Running, Work

Outcome = Found | Missing


class Schedule:
    """A thread for each missing part, so that the Go build and the Debian root overlap."""

    def __init__(self, parts: Mapping[str, Part], report: Report) -> None:
        self._parts = parts
        self._report = report
        self._running = Running()
        self._in_progress: dict[str, Work] = {}
        self._outcomes: dict[str, Outcome] = {}
        self._done = {name: threading.Event() for name in parts}

    def run(self, wanted: Sequence[str]) -> dict[str, Outcome]:
        """Make the missing ones of the wanted parts, and what they need."""
        names = self._to_make(wanted)
        threads = [threading.Thread(target=self._one, args=(name,)) for name in names]
        for name in set(self._parts) - set(names):
            self._done[name].set()
        self._report.watch(self._progress)
        for thread in threads:
            thread.start()
        try:
            for thread in threads:
                thread.join()
        except KeyboardInterrupt:
            self._running.stop()
            for thread in threads:
                thread.join()
            raise
        finally:
            self._report.finish()
        return self._outcomes

    def _to_make(self, wanted: Sequence[str]) -> list[str]:
        names: list[str] = []
        for name in wanted:
            found = self._parts[name].find()
            if found:
                self._outcomes[name] = found
            elif name not in names:
                needed = self._to_make(self._parts[name].needs)
                names.extend(need for need in needed if need not in names)
                names.append(name)
        return names

    def _one(self, name: str) -> None:
        part = self._parts[name]
        try:
            self._outcomes[name] = self._make(part)
        except Missing as missing:
            self._outcomes[name] = missing
            self._report.say(name, f"missing: {missing.reason}\n         -> {missing.remedy}")
        except Exception as error:  # noqa: BLE001 - the other parts continue; the log has the traceback
            log = LOGS / f"{name}.log"
            with log.open("a") as opened:
                traceback.print_exc(file=opened)
            self._outcomes[name] = Missing(f"{type(error).__name__}: {error}", remedy=f"see {log}")
            self._report.say(name, f"missing: {type(error).__name__}: {error}, see {log}")
        finally:
            self._in_progress.pop(name, None)
            self._done[name].set()

    def _make(self, part: Part) -> Found:
        for need in part.needs:
            self._done[need].wait()
            if self._running.stopped:
                raise Missing(INTERRUPTED, remedy=AGAIN)
            outcome = self._outcomes.get(need)
            if isinstance(outcome, Missing):
                reason = f"needs {need}, which is missing"
                raise Missing(reason, remedy=part.remedy or outcome.remedy)
        if part.needs and (found := part.find()):  # a part it needs has made it available
            self._report.say(part.name, f"ready: {found.detail}")
            return found
        self._report.say(part.name, f"setting up: {part.plan}")
        started = time.monotonic()
        self._in_progress[part.name] = Work(part.name, self._running)
        part.make(self._in_progress[part.name])
        found = part.find()
        if found is None:
            reason = "it was set up, but is not found"
            raise Missing(reason, remedy=f"see {self._in_progress[part.name].log}")
        self._report.say(part.name, f"ready in {time.monotonic() - started:.0f} s: {found.detail}")
        return found

    def _progress(self) -> dict[str, str]:
        return {name: work.progress() for name, work in sorted(self._in_progress.items())}
