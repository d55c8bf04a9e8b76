"""What the demo shows: commands as a person types them, what came out, how long it took.

The same goes to a log (whole), and step by step to a JSON file.
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
"""What an engine without a terminal prints to show that it lives."""
_DULL = re.compile(
    r"""^\s*(\[(id|provider)=
        |(addPreviousOutputInEnv|logging|perDialTimeout|dialErrorLimit)\ *:
        |environment\ +:\ \{$|NIX_SSHOPTS\ *:)""",
    re.VERBOSE,
)
"""What a detailed preview repeats for each resource, though it is the same in all of them."""
HEAD, TAIL = 48, 20
"""Lines of one command that are shown, from its beginning and its end; the log has all of them."""
WIDTH = 240
"""Characters of one line that are shown: two store paths and a few words."""


def plain(text: str) -> str:
    """The text without colours and other control characters."""
    return "".join(c for c in _ANSI.sub("", text) if c.isprintable() or c in "\n\t")


@dataclass(slots=True, kw_only=True)
class Step:
    """One step of the demo; `detail` says what was seen, or what went wrong."""

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
    _left_out: int = 0
    _dull: bool = False
    _last: deque[str] = field(default_factory=deque)

    @property
    def colour(self) -> bool:
        """Whether commands may colour what they print."""
        return self.console.color_system is not None

    def say(self, text: str, style: str = "") -> None:
        """One line of the demo's own."""
        self.log.write(f"{text}\n")
        self.log.flush()
        self.console.print(Text(text, style))

    @contextmanager
    def step(self, name: str) -> Iterator[Step]:
        """Time what happens inside; an exception marks the step as failed and goes on."""
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
        """Take a command, as typed."""
        self._lines = self._left_out = 0
        self._last.clear()
        self.log.write(f"$ {text}\n")
        self._show(Text(f"$ {text}", "bold"))

    def output(self, line: str) -> None:
        """Take one line that a command printed: shown at once, or held back after HEAD of them."""
        bare = plain(line).rstrip()
        self.log.write(f"{bare}\n")
        self.log.flush()
        if _NOISE.match(bare):
            return
        was_dull, self._dull = self._dull, bool(_DULL.match(bare))
        if self._dull or (was_dull and bare.strip() == "}"):
            self._left_out += 1
            return
        self._lines += 1
        if self._lines > HEAD:
            self._last.append(line)
        else:
            self._show_line(line)

    def ended(self, seconds: float) -> None:
        """Take the end of a command: the last lines that it printed, and how long it took."""
        if hidden := max(0, len(self._last) - TAIL) + self._left_out:
            self.console.print(Text(f"  … {hidden} more lines, all in {self.log.name}", "dim"))
        for line in list(self._last)[-TAIL:]:
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
