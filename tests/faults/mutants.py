"""`python -m tests.faults.mutants`: removes each safeguard, and checks that a row notices.

The rows run on the unchanged program, where they must pass, and then on a copy for each mutant,
where they must fail. Writes .flakeup/mutants.json. Exits with status 1 if a mutant survives, 2 if
it cannot tell, as a row fails on the unchanged program or there are no hosts.
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
from harness.incus import ROOT, HarnessError, own_prefix
from harness.lock import exclusive_lock
from tests.faults.mutation import Mutant, MutationError, copy_tree
from tests.faults.safeguards import MUTANTS

PREFIX: Final = own_prefix("flakeup-mutants")
PARALLEL: Final = 3
"""Mutants, and hosts for the unchanged program: they spend most of their time waiting."""
TIMEOUT: Final = 300.0
"""Seconds for one run of `tests.faults`."""

_STORE: Final = re.compile(r"/nix/store/[0-9a-z]{32}-(?:nixos-system-)?")


@dataclass(slots=True, kw_only=True)
class Verdict:
    """The results of a mutant's rows."""

    mutant: Mutant
    killed_by: dict[str, str] = field(default_factory=dict)
    """Rows that failed as expected, with the problem."""
    survived: dict[str, str] = field(default_factory=dict)
    """Rows that passed, or failed for another reason."""
    seconds: float = 0.0

    @property
    def killed(self) -> bool:
        return not self.survived and set(self.killed_by) == set(self.mutant.killers)

    def line(self) -> str:
        texts = [f"killed by {row}: {why}" for row, why in self.killed_by.items()]
        texts += [f"SURVIVED {row}: {why}" for row, why in self.survived.items()]
        return f"{self.mutant.name:10} {'; '.join(texts)} ({self.seconds:.0f} s)"

    def fields(self) -> dict[str, Any]:
        return {
            "name": self.mutant.name,
            "removes": self.mutant.removes,
            "killed": self.killed,
            "killedBy": self.killed_by,
            "survived": self.survived,
            "seconds": round(self.seconds, 1),
        }


def main() -> int:
    """Run the mutants; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.mutants")
    parser.add_argument("--only", default="", help="only these mutants, such as timer,lock")
    only = frozenset(filter(None, parser.parse_args().only.split(",")))
    if unknown := sorted(only - {one.name for one in MUTANTS}):
        _say(f"no such mutant: {', '.join(unknown)}")
        return 2
    try:
        with (
            exclusive_lock(ROOT / ".flakeup" / "mutants.lock", "the mutants"),
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
    _say(f"{len(rows)} rows on the unchanged program: {', '.join(rows)}")
    found = _run_rows(original, "original", rows, hosts=min(PARALLEL, len(rows)))
    if bad := {row: why for row, why in found.items() if why}:
        for row, why in bad.items():
            _say(f"{row} fails without any mutant, so it proves nothing: {why}")
        return 2
    _say(f"they pass; {len(mutants)} mutants, {PARALLEL} in parallel")
    with ThreadPoolExecutor(max_workers=PARALLEL) as pool:
        verdicts = list(pool.map(lambda one: _verdict(one, original, folder), mutants))
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


def _verdict(mutant: Mutant, original: Path, folder: Path) -> Verdict:
    began = time.monotonic()
    copy = folder / mutant.name
    shutil.copytree(original, copy, symlinks=True, ignore=shutil.ignore_patterns(".flakeup"))
    mutant.apply(copy)
    verdict = Verdict(mutant=mutant)
    for row, why in _run_rows(copy, mutant.name, list(mutant.killers), len(mutant.killers)).items():
        lines = [line for line in why.splitlines() if re.search(mutant.killers[row], line)]
        found = verdict.killed_by if lines else verdict.survived
        found[row] = _STORE.sub("", (lines or [why or "it passes"])[0])[:300]
    verdict.seconds = time.monotonic() - began
    _say(verdict.line())
    return verdict


def _run_rows(folder: Path, name: str, rows: Sequence[str], hosts: int) -> dict[str, str]:
    """Run rows on the program in `folder`, on hosts of its own; returns the problems of each.

    Raises:
        HarnessError: the rows could not be run.
    """
    prefix = f"{PREFIX}-{name}"
    argv = (
        "tools/env", "python", "-m", "tests.faults", "--fail-fast", "--times", "1",
        "--rows", ",".join(rows), "--hosts", str(hosts), "--prefix", prefix,
    )  # fmt: skip
    try:
        done = subprocess.run(
            argv, cwd=folder, capture_output=True, text=True, timeout=TIMEOUT, check=False
        )
    except subprocess.TimeoutExpired as error:
        msg = f"{name}: not finished after {TIMEOUT:g} s: {error.stdout!r}"
        raise HarnessError(msg) from error
    finally:
        containers.remove(prefix)
    file = folder / ".flakeup" / "faults.json"
    results = json.loads(file.read_text())["rows"] if file.exists() else ()
    found = {one["id"]: "" if one["ok"] else one["detail"] for one in results}
    if set(found) != set(rows):
        msg = f"{name}: not all rows ran: {done.stdout[-2000:]}{done.stderr[-2000:]}"
        raise HarnessError(msg)
    return found


def _say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)  # noqa: T201 output of a command


if __name__ == "__main__":
    sys.exit(main())
