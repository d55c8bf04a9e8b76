"""`python -m bench [--keep] [--rounds N]`: measures, prints a table, writes .flakeup/bench.json.

Ends with status 1 when a figure is over its limit, 2 when it cannot measure.
"""

import argparse
import json
import os
import sys
import time
from datetime import UTC, datetime
from typing import Any, Final

from bench.ground import ACTIVATION_SECONDS, PARALLEL, Ground
from bench.measure import Row, Samples, releases, rows, unchanged
from demo.alone import alone
from demo.incus import ROOT, DemoError

PLACE: Final = ROOT / ".flakeup"
REPORT: Final = PLACE / "bench.json"
LOCK: Final = PLACE / "bench.lock"
NOTES: Final = (
    "each row is a median over rounds; a difference or ratio is made of two runs of one round",
    "every measured release is a new commit of the app: built, copied and activated by both sides",
    "by hand: one nix build, then nix copy and one ssh call a host, with the program's ssh options",
    "`up` is `pulumi up --yes`, with its preview; the hosts share this machine's cores",
)


def main() -> int:
    """Measure; gives the exit status."""
    words = _arguments()
    try:
        with alone(LOCK, "the benchmark"):
            return _measure(words.rounds, keep=words.keep)
    except DemoError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description="how fast it is")
    parser.add_argument("--keep", action="store_true", help="leave hosts and stacks for a look")
    parser.add_argument("--rounds", type=int, default=3, help="of new releases (default: 3)")
    return parser.parse_args()


def _measure(rounds: int, *, keep: bool) -> int:
    ground = Ground(folder=PLACE / "bench")
    samples = Samples(say=_say)
    before, began = os.getloadavg(), datetime.now(UTC)
    try:
        _say("hosts and stacks")
        ground.prepare()
        plugin = ground.plugin
        unchanged(ground, samples, max(rounds, 5))
        releases(ground, samples, rounds)
    finally:
        if keep:
            _say(f"kept: the containers, and {ground.folder}")
        else:
            ground.remove()
    found = rows(samples)
    meta = {
        "began": began.isoformat(timespec="seconds"),
        "seconds": round((datetime.now(UTC) - began).total_seconds()),
        "cpus": os.cpu_count(),
        "load": {"before": before, "after": os.getloadavg()},
        "parallel": PARALLEL,
        "plugin": plugin,
        "activationSeconds": ACTIVATION_SECONDS,
        "rounds": rounds,
        "samples": samples.seconds,
        "stages": samples.stages,
        "notes": NOTES,
    }
    _save(found, meta)
    _show(found, samples)
    return 0 if all(row.ok for row in found) else 1


def _say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def _save(found: list[Row], meta: dict[str, Any]) -> None:
    text = json.dumps({"rows": [_fields(row) for row in found], **meta}, indent=1)
    fresh = REPORT.with_name(f".{REPORT.name}.new")
    fresh.write_text(f"{text}\n")
    fresh.replace(REPORT)


def _fields(row: Row) -> dict[str, str | float | bool]:
    return {
        "id": row.id,
        "what": row.what,
        "value": row.value,
        "unit": row.unit,
        "limit": row.limit,
        "ok": row.ok,
    }


def _show(found: list[Row], samples: Samples) -> None:
    for row in found:
        mark = "ok  " if row.ok else "OVER"
        print(f"{mark} {row.id:3} {row.value:7.2f} ≤ {row.limit:<5g} {row.unit:6} {row.what}")
    for name, stages in samples.stages.items():
        print(f"     {name}: {stages}")
    print(f"load {', '.join(f'{load:.1f}' for load in os.getloadavg())}; all of it: {REPORT}")


if __name__ == "__main__":
    sys.exit(main())
