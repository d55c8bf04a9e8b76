"""The demo's transcript: commands as typed, their output, and how long they took.

The complete output also goes to a log, and the steps to a JSON file.
"""

import json
import re
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TextIO

from rich.console import Console
from rich.text import Text

_ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b\][^\x07]*\x07")
_NOISE = re.compile(r"^@ \w+\.+$|^\s*$|^(Previewing update|Updating) \(")
"""What an engine without a terminal prints as a sign of life."""
_REPEATED = re.compile(
    r"""^\s*(\[(id|provider)=
        |(addPreviousOutputInEnv|logging|perDialTimeout|dialErrorLimit)\ *:
        |environment\ +:\ \{$|NIX_SSHOPTS\ *:)""",
    re.VERBOSE,
)
"""What a detailed preview prints for each resource, though it is always the same."""
HEAD, TAIL = 48, 20
"""Lines of a command's output that are shown, from its start and its end; the log has all."""
WIDTH = 240
"""Characters of a line that are shown: enough for two store paths and a few words."""


def plain(text: str) -> str:
    """The text without colours and control characters."""
    return "".join(c for c in _ANSI.sub("", text) if c.isprintable() or c in "\n\t")


@dataclass(slots=True, kw_only=True)
class Step:
    """A step of the demo; `detail` says what was verified, or what failed."""

    name: str
    seconds: float = 0.0
    ok: bool = False
    detail: str = ""


@dataclass(slots=True)
class Terminal:
    """The transcript: on the terminal (coloured only there), in `log`, and as steps."""

    log: TextIO
    console: Console = field(default_factory=lambda: Console(highlight=False, soft_wrap=True))
    steps: list[Step] = field(default_factory=list)
    _lines: int = 0
    _omitted: int = 0
    _repeated: bool = False
    _held_back: deque[str] = field(default_factory=deque)

    @property
    def colour(self) -> bool:
        """Whether commands may colour what they print."""
        return self.console.color_system is not None

    def say(self, text: str, style: str = "") -> None:
        """Print a line of the demo's own."""
        self.log.write(f"{text}\n")
        self.log.flush()
        self.console.print(Text(text, style))

    @contextmanager
    def step(self, name: str) -> Iterator[Step]:
        """Time the block as a step; an exception marks it as failed, and is raised again."""
        step = Step(name=name)
        self.steps.append(step)
        self.say(f"\n{len(self.steps)}. {name}", "bold cyan")
        began = time.monotonic()
        try:
            yield step
            step.ok = True
        except BaseException as error:
            step.detail = plain(str(error)) or type(error).__name__
            raise
        finally:
            step.seconds = round(time.monotonic() - began, 2)
            mark, style = ("✓", "green") if step.ok else ("✗", "bold red")
            self.say(f"{mark} {step.detail} ({step.seconds:.1f} s)", style)

    def command(self, text: str) -> None:
        """Show a command, as typed."""
        self._lines = self._omitted = 0
        self._held_back.clear()
        self.log.write(f"$ {text}\n")
        self._show(Text(f"$ {text}", "bold"))

    def output(self, line: str) -> None:
        """Show a line of output at once, or hold it back after HEAD lines."""
        bare = plain(line).rstrip()
        self.log.write(f"{bare}\n")
        self.log.flush()
        if _NOISE.match(bare):
            return
        was_repeated, self._repeated = self._repeated, bool(_REPEATED.match(bare))
        if self._repeated or (was_repeated and bare.strip() == "}"):
            self._omitted += 1
            return
        self._lines += 1
        if self._lines > HEAD:
            self._held_back.append(line)
        else:
            self._show_line(line)

    def ended(self, seconds: float) -> None:
        """Show the last lines of a command's output, and how long it took."""
        if hidden := max(0, len(self._held_back) - TAIL) + self._omitted:
            self.console.print(Text(f"  … {hidden} more lines, see {self.log.name}", "dim"))
        for line in list(self._held_back)[-TAIL:]:
            self._show_line(line)
        self.say(f"  ({seconds:.1f} s)", "dim")

    def _show_line(self, line: str) -> None:
        text = Text.from_ansi(line.rstrip()) if self.colour else Text(plain(line).rstrip())
        self._show(Text("  ") + text)

    def _show(self, text: Text) -> None:
        text.truncate(WIDTH, overflow="ellipsis")
        self.console.print(text)

    def save(self, path: Path) -> None:
        """Write the steps as JSON."""
        total = round(sum(step.seconds for step in self.steps), 2)
        steps = [asdict(step) for step in self.steps]
        ok = all(step.ok for step in self.steps)
        path.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps({"ok": ok, "seconds": total, "steps": steps}, indent=1)
        fresh = path.with_name(f".{path.name}.new")
        fresh.write_text(f"{text}\n")
        fresh.replace(path)
