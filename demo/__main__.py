"""`python -m demo` runs the demo, `python -m demo clean` removes everything it created."""

import hashlib
import shutil
import sys
import time
from typing import Final

from demo.clean import clean
from demo.story import PREFIX, Story
from demo.terminal import Terminal
from harness.incus import ROOT, HarnessError
from harness.lock import exclusive_lock
from harness.workspace import Workspace

STATE: Final = ROOT / ".flakeup"
FOLDER: Final = STATE / "demo"
REPORT: Final = STATE / "demo.json"
LOG: Final = STATE / "demo.log"
LOCK: Final = STATE / "demo.lock"
COMPLETE: Final = FOLDER / "complete"
"""Written when a run has finished, so that hosts and stack are in a known state. It contains a
digest of the app, as another version of the demo has other commits under the same tags.

Without it, or after a killed engine, the next run starts with new hosts and a new stack: the demo
has nothing to lose, and must not depend on earlier runs.
"""
INTERRUPTED: Final = 130


def main() -> int:
    """Run the demo, or `clean`; returns the exit status."""
    words = sys.argv[1:]
    if words not in ([], ["clean"]):
        print("usage: python -m demo [clean]", file=sys.stderr)
        return 64
    try:
        with exclusive_lock(LOCK, "the demo"):
            return _clean() if words else _run()
    except HarnessError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1


def _run() -> int:
    began = time.monotonic()
    completed = COMPLETE.read_text() if COMPLETE.is_file() else ""
    fresh = Workspace(folder=FOLDER).is_locked() or completed != _app_digest()
    COMPLETE.unlink(missing_ok=True)
    with LOG.open("w") as log:
        terminal = Terminal(log)
        workspace = Workspace(folder=FOLDER, recorder=terminal)
        if fresh:
            shutil.rmtree(FOLDER, ignore_errors=True)
        story = Story(terminal=terminal, workspace=workspace, fresh=fresh)
        try:
            story.run()
        except HarnessError as error:
            _print_failure(terminal, str(error))
            return 1
        except KeyboardInterrupt:
            terminal.say("interrupted: the next `make demo` starts from scratch", "red")
            return INTERRUPTED
        finally:
            terminal.save(REPORT)
        COMPLETE.write_text(_app_digest())
        _print_next_steps(terminal, story, time.monotonic() - began)
        return 0


def _app_digest() -> str:
    """A digest of the sources of the app's repository."""
    demo = ROOT / "demo"
    files = sorted(path for path in (demo / "app").rglob("*") if path.is_file())
    content = (path.read_bytes() for path in (demo / "app-repo", *files))
    return hashlib.sha256(b"\0".join(content)).hexdigest()


def _clean() -> int:
    Workspace(folder=FOLDER).is_locked()  # raises if an engine is running
    for line in clean(FOLDER, (REPORT, LOG, LOCK)):
        print(line)
    print("the toolchain is kept (see tools/bootstrap --status)")
    if not any(STATE.iterdir()):
        STATE.rmdir()
    return 0


def _print_failure(terminal: Terminal, why: str) -> None:
    step = terminal.steps[-1]
    terminal.say(f"\nThe demo failed in step {len(terminal.steps)}, “{step.name}”:", "bold red")
    terminal.say(f"  {why}", "red")
    terminal.say(f"See {LOG} for the complete output, and the hosts' journals:")
    terminal.say(f"  incus --project flakeup exec {PREFIX}-web1 -- journalctl -e")
    terminal.say("The next `make demo` starts with new hosts.")


def _print_next_steps(terminal: Terminal, story: Story, seconds: float) -> None:
    first = next(iter(story.hosts.values()))
    terminal.say(f"\nAll {len(terminal.steps)} steps succeeded in {seconds:.0f} s.", "bold green")
    terminal.say("The hosts stay up. To continue by hand:")
    for command in (
        f". {FOLDER}/env        # sets the environment, and changes to the stack's folder",
        "pulumi config set appRef v2 && pulumi up",
        f"curl http://{first.address}:8080/",
        f"incus --project {first.incus.project} exec {first.instance} -- bash",
    ):
        terminal.say(f"  {command}")
    terminal.say("`make demo-clean` removes the hosts, the stack and the folder.")


if __name__ == "__main__":
    sys.exit(main())
