"""What a run has shown: .flakeup/faults.json, the page docs/faults.md, and the last lines."""

import json
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

from tests.faults.row import Ending, Row
from tests.faults.run import Result

CRASHES: Final = ("F2", "F2b", "F2c", "F2d", "F9a", "F9a2")
"""Rows in which an activation crashes or a unit fails: these are quick to end."""
HEALTHY: Final = ("H1", "H2", "H3", "H4")
NOT_AUTOMATED: Final = {
    "F9d": "secrets are not part of the program yet",
    "F15c": "taking back hosts that have committed is not offered: the way back is the old ref",
    "F17c": "signed caches come later; what is pushed comes over a pinned connection",
    "F16, `systemctl isolate`": "the switch of the test hosts has no use for it; with re-exec: F16",
    "F20, the provider's memory": "what a host sends is bounded, line by line: R3",
    "F21, a build that takes too long": "a build may take hours; it touches no host",
    "F24": "the target EC2 comes later",
}


_ABOUT: Final = (
    "Made by `make faults`; do not edit. Each row is a fault on a real host (a container with",
    "systemd, sshd and nix; its systems have NixOS's layout and scripts, and not its content),",
    "looked at without ssh. OLD is the exact system of before, NEW the release. After each",
    "injection the fault is mended: the next deployment succeeds, and the one after it changes",
    "nothing and restarts no unit.",
    "",
    "Rows F22 are about a Docker service, rows F23 about a host that the program makes in Incus,",
    "each kind on a daemon of the run's own. OLD is there what served before: of Docker the same",
    "container, and clients that ask all the time lose no request, where dockerd itself does not",
    "end; of Incus nobody. In the end exactly what is to exist exists: containers, images,",
    "networks and volumes, or instances, images and volumes.",
)


def save(file: Path, results: Sequence[Result], meta: dict[str, Any]) -> None:
    """Write the results, one row an injection, and the figures."""
    rows = [one.fields() for one in results]
    text = json.dumps({"rows": rows, "figures": figures(results), **meta}, indent=1)
    fresh = file.with_name(f".{file.name}.new")
    fresh.write_text(f"{text}\n")
    fresh.replace(file)


def load(file: Path) -> tuple[list[Result], dict[str, Any]]:
    """Read the results that `save` has written, and what it knew of the run."""
    whole = json.loads(file.read_text())
    return [Result.of(row) for row in whole.pop("rows")], whole


def figures(results: Sequence[Result]) -> dict[str, Any]:
    """The figures that the whole is judged by; a figure without any injection is left out."""
    ended = [one for one in results if one.ended is not Ending.BETWEEN]
    crashed = [one.seconds for one in results if one.id in CRASHES and one.ended is Ending.OLD]
    back = [one.seconds for one in results if one.ended is Ending.OLD]
    healthy = [one for one in results if one.id in HEALTHY]
    found: dict[str, Any] = {
        "injections": len(results),
        "rows": len({one.id for one in results}),
        "ok": sum(one.ok for one in results),
        "endedNewOrOld": len(ended),
        "new": sum(one.ended is Ending.NEW for one in results),
        "old": sum(one.ended is Ending.OLD for one in results),
        "healthySwitches": len(healthy),
        "falseRollbacks": sum(one.ended is not Ending.NEW for one in healthy),
    }
    if back:
        found["worstSecondsToOld"] = round(max(back), 1)
    if crashed:
        found["medianSecondsToOldAfterCrash"] = round(statistics.median(crashed), 1)
    return found


def summary_lines(results: Sequence[Result]) -> list[str]:
    """The figures for the end of a run, and what is to be looked at."""
    made = figures(results)
    bad = [f"not ok: {one.id} seed {one.seed} on {one.host}" for one in results if not one.ok]
    return [", ".join(f"{name} {value}" for name, value in made.items()), *bad]


def write_page(
    file: Path, rows: Iterable[Row], results: Sequence[Result], meta: dict[str, Any]
) -> None:
    """Write the table for readers."""
    made = figures(results)
    lines = [
        "# What was done to hosts, and how it ended",
        "",
        *_ABOUT,
        "",
        _run_line(made, meta),
        *(f"Not played here: {rows}: {why}." for why, rows in _left_out(meta).items()),
        "",
        "| row | what is done | expected | times | NEW | OLD | ok | median s | worst s |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
        *(_line(row, [one for one in results if one.id == row.id]) for row in rows),
        "",
        "Seconds are from the harm, or from the start of the activation where the harm is in NEW,",
        "to the end of the attempt; of a Docker service, to the first answer that stays.",
        "",
        "## Not automated",
        "",
        *(f"- {name}: {why}." for name, why in NOT_AUTOMATED.items()),
    ]
    file.write_text("\n".join(lines) + "\n")


def _run_line(made: dict[str, Any], meta: dict[str, Any]) -> str:
    return (
        f"Run of {meta['began']}: {made['injections']} injections in {meta['seconds'] / 60:.0f}"
        f" minutes on {meta['hosts']} hosts, first seed {meta['seed']};"
        f" {made['endedNewOrOld']} ended on NEW or OLD, {made['ok']} as expected."
        f" Worst time to OLD {made.get('worstSecondsToOld', '-')} s; median after a crashed"
        f" activation or a failed unit {made.get('medianSecondsToOldAfterCrash', '-')} s;"
        f" {made['falseRollbacks']} of {made['healthySwitches']} healthy switches taken back."
    )


def _left_out(meta: dict[str, Any]) -> dict[str, str]:
    """The rows that this machine could not play, by the reason."""
    found: dict[str, str] = {}
    for row, why in meta.get("skipped", {}).items():
        found[why] = f"{found[why]}, {row}" if why in found else row
    return found


def _line(row: Row, results: list[Result]) -> str:
    counts = [sum(one.ended is ending for one in results) for ending in (Ending.NEW, Ending.OLD)]
    seconds = [one.seconds for one in results if one.seconds]
    times = [f"{statistics.median(seconds):.1f}", f"{max(seconds):.1f}"] if seconds else ["-", "-"]
    ok = f"{sum(one.ok for one in results)}/{len(results)}" if results else "not in this run"
    name = f'<a id="{row.id.lower()}"></a>{row.id}'
    cells = (name, row.what, row.expected, len(results), *counts, ok, *times)
    return f"| {' | '.join(map(str, cells))} |"
