"""`python -m tests.faults.mutants`: takes each safeguard away, and looks that a row notices.

The rows are run on the program as it is, where they have to pass, and then on a copy for each
mutant, where they have to fail. Writes .flakeup/mutants.json. Ends with status 1 when a mutant
survives, 2 when there is no telling: a row fails without any mutant, or there are no hosts.
"""

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from harness import hosts as containers
from harness.incus import ROOT, HarnessError
from harness.lock import alone
from tests.faults.mutation import Mutant, MutationError, Replacement, copy_tree

RUNNER: Final = "components/pipeline/activation/runner"
PREFIX: Final = "flakeup-mutants"
SIDE_BY_SIDE: Final = 3
"""Mutants, and hosts for the program as it is: most of their time is waiting for timers."""
TIMEOUT: Final = 300.0
"""Seconds for one run of the rig."""

MUTANTS: Final = (
    Mutant(
        name="pin",
        removes="the pinned host key, of our connections and of the commit's",
        replacements=(
            Replacement(
                file="components/pipeline/transport/ssh.py",
                text='"StrictHostKeyChecking=yes"',
                by='"StrictHostKeyChecking=no"',
            ),
            Replacement(
                file="components/hosts/nixos.py", text="        host_key=reach.host_key,\n", by=""
            ),
        ),
        killers={"F18": "it ended NEW, not OLD", "F18b": "it ended NEW, not OLD"},
    ),
    Mutant(
        name="roots",
        removes="the garbage collection roots of OLD and NEW",
        replacements=(
            Replacement(
                file=f"{RUNNER}/start.sh",
                text='[ -z "$2" ] || ln -sfn "$2" "$ROOTS/$1"',
                by="return 0",
            ),
        ),
        killers={"F13d": "it ended OLD, not NEW", "F13e": "OLD was collected"},
    ),
    Mutant(
        name="order",
        removes="the trial before the commit: the boot default is NEW before it has run",
        replacements=(
            Replacement(
                file=f"{RUNNER}/run.sh",
                text='logged activate "$new" "$timeout" test',
                by='note touched yes; nix-env --profile "$PROFILE" --set "$new" 9>&-\n'
                '    logged activate "$new" "$timeout" switch',
            ),
        ),
        killers={"F4b": "it ended NEW, not OLD"},
    ),
    Mutant(
        name="timer",
        removes="the timer of the way back",
        replacements=(
            Replacement(
                file=f"{RUNNER}/units.sh",
                text='    in_unit "flakeup-$2-$1" "back $1 $2" --on-active="$3"',
                by='    return 0\n    in_unit "flakeup-$2-$1" "back $1 $2" --on-active="$3"',
            ),
        ),
        killers={"C8": r"it ended between, not OLD.*attempt awaiting-confirm"},
    ),
    Mutant(
        name="connection",
        removes="the commit over a connection of its own: it goes over the one that follows",
        replacements=(
            Replacement(
                file=f"{RUNNER}/follow.sh",
                text="        awaiting-confirm | committing | committed) rest 0 ;;\n",
                by='        awaiting-confirm) "$RUN/switch" "$(get "$folder/new")" >/dev/null ;;\n'
                "        committing | committed) rest 0 ;;\n",
            ),
        ),
        killers={"F5a2": "it ended NEW, not OLD"},
    ),
    Mutant(
        name="settle",
        removes="the time that units get to settle before they are looked at",
        replacements=(
            Replacement(
                file=f"{RUNNER}/check.sh", text="until=$((uptime + $1 * 100))", by="until=$uptime"
            ),
        ),
        killers={"F9b2": "it ended NEW, not OLD"},
    ),
    Mutant(
        name="lock",
        removes="the lock around each change of an attempt's state",
        replacements=(
            Replacement(file=f"{RUNNER}/record.sh", text='flock -w "${1:-20}" 9', by="true"),
        ),
        killers={"F10d": "it ended OLD, not NEW|the second was told"},
    ),
    Mutant(
        name="clock",
        removes="the monotonic clock: the timers go by the one on the wall",
        replacements=(
            Replacement(
                file=f"{RUNNER}/units.sh",
                text='--on-active="$3"',
                by='--on-calendar="$(date -d "+$3 seconds" "+%F %T")"',
            ),
        ),
        killers={"F14": r"the timer while activating.*OnCalendar"},
    ),
)
_STORE: Final = re.compile(r"/nix/store/[0-9a-z]{32}-(?:nixos-system-)?")


@dataclass(slots=True, kw_only=True)
class Verdict:
    """What the rows said to a mutant."""

    mutant: Mutant
    killed_by: dict[str, str] = field(default_factory=dict)
    """Rows that failed as they have to, with what they said."""
    otherwise: dict[str, str] = field(default_factory=dict)
    """Rows that passed, or failed for another reason."""
    seconds: float = 0.0

    @property
    def killed(self) -> bool:
        return not self.otherwise and set(self.killed_by) == set(self.mutant.killers)

    def line(self) -> str:
        said = [f"killed by {row}: {why}" for row, why in self.killed_by.items()]
        said += [f"SURVIVED {row}: {why}" for row, why in self.otherwise.items()]
        return f"{self.mutant.name:10} {'; '.join(said)} ({self.seconds:.0f} s)"

    def fields(self) -> dict[str, Any]:
        return {
            "name": self.mutant.name,
            "removes": self.mutant.removes,
            "killed": self.killed,
            "killedBy": self.killed_by,
            "otherwise": self.otherwise,
            "seconds": round(self.seconds, 1),
        }


def main() -> int:
    """Run all of it; gives the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.mutants")
    parser.add_argument("--only", default="", help="only these mutants, such as timer,lock")
    only = frozenset(filter(None, parser.parse_args().only.split(",")))
    if unknown := sorted(only - {one.name for one in MUTANTS}):
        _say(f"no such mutant: {', '.join(unknown)}")
        return 2
    try:
        with (
            alone(ROOT / ".flakeup" / "mutants.lock", "the check of the checks"),
            tempfile.TemporaryDirectory(prefix="flakeup-mutants-") as folder,
        ):
            return _run([one for one in MUTANTS if not only or one.name in only], Path(folder))
    except (HarnessError, MutationError) as error:
        _say(f"mutants: {error}")
        return 2


def _run(mutants: Sequence[Mutant], folder: Path) -> int:
    began = datetime.now(UTC)
    original = folder / "original"
    copy_tree(original)
    for mutant in mutants:
        mutant.check(original)
    rows = sorted({row for mutant in mutants for row in mutant.killers})
    _say(f"{len(rows)} rows on the program as it is: {', '.join(rows)}")
    found = _rows(original, "original", rows, hosts=min(SIDE_BY_SIDE, len(rows)))
    if bad := {row: why for row, why in found.items() if why}:
        for row, why in bad.items():
            _say(f"{row} fails without any mutant, and so can show nothing: {why}")
        return 2
    _say(f"they pass; {len(mutants)} mutants, {SIDE_BY_SIDE} side by side")
    with ThreadPoolExecutor(max_workers=SIDE_BY_SIDE) as pool:
        verdicts = list(pool.map(lambda one: _judge(one, original, folder), mutants))
    killed = sum(one.killed for one in verdicts)
    if len(mutants) == len(MUTANTS):
        seconds = (datetime.now(UTC) - began).total_seconds()
        whole = {
            "began": began.isoformat(timespec="seconds"),
            "seconds": round(seconds),
            "killed": killed,
            "of": len(mutants),
            "mutants": [one.fields() for one in verdicts],
        }
        file = ROOT / ".flakeup" / "mutants.json"
        file.write_text(json.dumps(whole, indent=1, ensure_ascii=False) + "\n")
    _say(f"{killed} of {len(mutants)} mutants killed")
    return 0 if killed == len(mutants) else 1


def _judge(mutant: Mutant, original: Path, folder: Path) -> Verdict:
    began = time.monotonic()
    place = folder / mutant.name
    shutil.copytree(original, place, symlinks=True, ignore=shutil.ignore_patterns(".flakeup"))
    mutant.apply(place)
    verdict = Verdict(mutant=mutant)
    for row, why in _rows(place, mutant.name, list(mutant.killers), len(mutant.killers)).items():
        lines = [line for line in why.splitlines() if re.search(mutant.killers[row], line)]
        found = verdict.killed_by if lines else verdict.otherwise
        found[row] = _STORE.sub("", (lines or [why or "it passes"])[0])[:300]
    verdict.seconds = time.monotonic() - began
    _say(verdict.line())
    return verdict


def _rows(place: Path, name: str, rows: Sequence[str], hosts: int) -> dict[str, str]:
    """Play rows in the program in `place`, on hosts of its own; what was wrong in each.

    Raises:
        HarnessError: there is no telling, since the rig itself could not run.
    """
    prefix = f"{PREFIX}-{name}"
    argv = (
        "tools/env", "python", "-m", "tests.faults", "--hasty", "--times", "1",
        "--rows", ",".join(rows), "--hosts", str(hosts), "--prefix", prefix,
    )  # fmt: skip
    try:
        done = subprocess.run(
            argv, cwd=place, capture_output=True, text=True, timeout=TIMEOUT, check=False
        )
    except subprocess.TimeoutExpired as error:
        msg = f"{name}: no end after {TIMEOUT:g} s: {error.stdout!r}"
        raise HarnessError(msg) from error
    finally:
        containers.remove(prefix)
    file = place / ".flakeup" / "faults.json"
    played = json.loads(file.read_text())["rows"] if file.exists() else ()
    found = {one["id"]: "" if one["ok"] else one["detail"] for one in played}
    if set(found) != set(rows):
        msg = f"{name}: not all rows were played: {done.stdout[-2000:]}{done.stderr[-2000:]}"
        raise HarnessError(msg)
    return found


def _say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)  # noqa: T201 a command for people


if __name__ == "__main__":
    sys.exit(main())
