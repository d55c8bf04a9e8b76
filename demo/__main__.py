"""`python -m demo` runs the demo, `python -m demo clean` removes what it made."""

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

PLACE: Final = ROOT / ".flakeup"
FOLDER: Final = PLACE / "demo"
REPORT: Final = PLACE / "demo.json"
LOG: Final = PLACE / "demo.log"
LOCK: Final = PLACE / "demo.lock"
WHOLE: Final = FOLDER / "whole"
"""Written when the last run came to its end: hosts and stack are then in a known state. It says of
which app that was: one of another version of the demo has other commits under the same tags.

Otherwise the next run begins with new hosts and a new stack, as it does where an engine was killed:
a demo has nothing to lose, and what it shows must not depend on what went before.
"""
INTERRUPTED: Final = 130


def main() -> int:
    """Run the demo, or `clean`; gives the exit status."""
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
    known = WHOLE.read_text() if WHOLE.is_file() else ""
    fresh = Workspace(folder=FOLDER).left_locked() or known != _app()
    WHOLE.unlink(missing_ok=True)
    with LOG.open("w") as log:
        terminal = Terminal(log)
        workspace = Workspace(folder=FOLDER, audience=terminal)
        if fresh:
            shutil.rmtree(FOLDER, ignore_errors=True)
        story = Story(terminal=terminal, workspace=workspace, fresh=fresh)
        try:
            story.tell()
        except HarnessError as error:
            _say_failed(terminal, str(error))
            return 1
        except KeyboardInterrupt:
            terminal.say("interrupted: the next `make demo` begins anew", "red")
            return INTERRUPTED
        finally:
            terminal.save(REPORT)
        WHOLE.write_text(_app())
        _say_how_to_go_on(terminal, story, time.monotonic() - began)
        return 0


def _app() -> str:
    """A digest of what the app's repository is made from."""
    demo = ROOT / "demo"
    files = sorted(path for path in (demo / "app").rglob("*") if path.is_file())
    content = (path.read_bytes() for path in (demo / "app-repo", *files))
    return hashlib.sha256(b"\0".join(content)).hexdigest()


def _clean() -> int:
    Workspace(folder=FOLDER).left_locked()  # raises where an engine is at work
    for line in clean(FOLDER, (REPORT, LOG, LOCK)):
        print(line)
    print("the toolchain stays where it is (tools/bootstrap --status)")
    if not any(PLACE.iterdir()):
        PLACE.rmdir()
    return 0


def _say_failed(terminal: Terminal, why: str) -> None:
    step = terminal.steps[-1]
    terminal.say(f"\nThe demo failed in step {len(terminal.steps)}, {step.name}:", "bold red")
    terminal.say(f"  {why}", "red")
    terminal.say(f"Look at {LOG} (all that was printed), and at the hosts' journals:")
    terminal.say(f"  incus --project flakeup exec {PREFIX}-web1 -- journalctl -e")
    terminal.say("The next `make demo` begins with new hosts.")


def _say_how_to_go_on(terminal: Terminal, story: Story, seconds: float) -> None:
    first = next(iter(story.hosts.values()))
    terminal.say(f"\nAll {len(terminal.steps)} steps went well, in {seconds:.0f} s.", "bold green")
    terminal.say("The hosts stay up. To go on by hand:")
    for command in (
        f". {FOLDER}/env        # the stack's environment, and its folder",
        "pulumi config set appRef v2 && pulumi up",
        f"curl http://{first.address}:8080/",
        f"incus --project {first.incus.project} exec {first.instance} -- bash",
    ):
        terminal.say(f"  {command}")
    terminal.say("`make demo-clean` removes hosts, stack and folder.")


if __name__ == "__main__":
    sys.exit(main())
