"""`python -m bench [--keep] [--rounds N] [--rows f,g]`: measures, prints a table, writes a report.

The report of all rows is .flakeup/bench.json, that of some rows .flakeup/bench-some.json. Exits
with status 1 if a figure exceeds its limit, 2 if it cannot measure.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Any, Final

from bench.measure import Samples
from bench.rows import IDS, Part, Row, parts_of
from bench.testbed import PARALLEL, Scale, Testbed
from harness.incus import ROOT, HarnessError
from harness.lock import exclusive_lock

FOLDER: Final = ROOT / ".flakeup"
REPORT: Final = FOLDER / "bench.json"
SOME: Final = FOLDER / "bench-some.json"
"""The report of some rows, which must not replace that of all."""
LOCK: Final = FOLDER / "bench.lock"
NOTES: Final = (
    "each row is a median over rounds; differences and ratios are between two runs of one round",
    "each measured release is a new commit of the app, which is built, copied and activated",
    "script: one nix build, then nix copy and one ssh call per host, with the program's options",
    "`up` is `pulumi up --yes`, with its preview; the hosts share this machine's cores",
    "guarded and bare switch: the system is on the host already, settle 0, checks pass at once",
    "slow up is `pulumi up --yes --skip-preview`, with an activation of 10 s and no canary",
)


def main() -> int:
    """Run the benchmark; returns the exit status."""
    arguments = _arguments()
    try:
        with exclusive_lock(LOCK, "the benchmark"):
            return _measure(arguments.rows, arguments.rounds, keep=arguments.keep)
    except HarnessError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description="measure deployments")
    parser.add_argument("--keep", action="store_true", help="keep hosts and stacks for inspection")
    parser.add_argument("--rounds", type=int, default=3, help="number of rounds (default: 3)")
    parser.add_argument(
        "--rows", type=_ids, default=IDS, metavar="IDS", help=f"only these rows, of {','.join(IDS)}"
    )
    return parser.parse_args()


def _ids(text: str) -> tuple[str, ...]:
    wanted = text.split(",")
    if unknown := sorted(set(wanted) - set(IDS)):
        msg = f"no row {', '.join(map(repr, unknown))}; the rows are {', '.join(IDS)}"
        raise argparse.ArgumentTypeError(msg)
    return tuple(key for key in IDS if key in wanted)


def _measure(ids: tuple[str, ...], rounds: int, *, keep: bool) -> int:
    samples = Samples(say=_say)
    before, began = os.getloadavg(), datetime.now(UTC)
    parts = parts_of(ids)
    testbeds = [
        _measure_on(scale, tuple(some), samples, rounds, keep=keep)
        for scale, some in groupby(parts, key=lambda part: part.scale)
    ]
    figures = (figure for part in parts for figure in part.figures)
    found = [figure.row(samples) for figure in figures if figure.id in ids]
    meta = {
        "began": began.isoformat(timespec="seconds"),
        "seconds": round((datetime.now(UTC) - began).total_seconds()),
        "cpus": os.cpu_count(),
        "load": {"before": before, "after": os.getloadavg()},
        "parallel": PARALLEL,
        "grounds": testbeds,
        "rounds": rounds,
        "samples": samples.seconds,
        "stages": samples.stages,
        "notes": NOTES,
    }
    report = REPORT if ids == IDS else SOME
    _save(report, found, meta)
    _show(found, samples)
    print(f"load {', '.join(f'{load:.1f}' for load in os.getloadavg())}; report: {report}")
    return 0 if all(row.ok for row in found) else 1


def _measure_on(
    scale: Scale, parts: Sequence[Part], samples: Samples, rounds: int, *, keep: bool
) -> dict[str, Any]:
    """Measure some parts on a testbed of their own; returns its description."""
    testbed = Testbed(folder=FOLDER / scale.prefix.removeprefix("flakeup-"), scale=scale)
    try:
        _say(f"{len(scale.names)} hosts, stacks with {', '.join(map(str, scale.sizes))} of them")
        testbed.prepare()
        description = {**asdict(scale), "plugin": testbed.plugin, "load": os.getloadavg()}
        for part in parts:
            part.measure(testbed, samples, rounds)
    finally:
        if keep:
            _say(f"kept: the containers, and {testbed.folder}")
        else:
            testbed.remove()
    return description


def _say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def _save(report: Path, found: list[Row], meta: dict[str, Any]) -> None:
    rows = [{**asdict(row), "ok": row.ok} for row in found]
    text = json.dumps({"rows": rows, **meta}, indent=1)
    fresh = report.with_name(f".{report.name}.new")
    fresh.write_text(f"{text}\n")
    fresh.replace(report)


def _show(found: list[Row], samples: Samples) -> None:
    for row in found:
        mark = "ok  " if row.ok else "OVER"
        print(f"{mark} {row.id:3} {row.value:7.2f} ≤ {row.limit:<5g} {row.unit:6} {row.what}")
    for name, stages in samples.stages.items():
        print(f"     {name}: {stages}")


if __name__ == "__main__":
    sys.exit(main())
