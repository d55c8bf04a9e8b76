"""The status of all parts, for tests, the demo and tools/env."""

import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from toolchain.part import Found, Part
from toolchain.paths import CACHE, TOOLCHAIN, VENV, key, write
from toolchain.schedule import Outcome
from toolchain.work import Missing

ENV_FILE: Final = VENV / "flakeup-env.sh"
FILE: Final = TOOLCHAIN / "status" / f"{key(str(VENV))}.json"
"""One per clone, as clones may need different versions."""


def of(parts: Mapping[str, Part], outcomes: Mapping[str, Outcome]) -> dict[str, Any]:
    """The status of every part but the helpers."""
    rows = {name: _row(outcomes.get(name)) for name, part in parts.items() if not part.helper}
    core = [name for name, part in parts.items() if part.core]
    return {
        "schema": 1,
        "cache": str(CACHE),
        "ready": all(rows[name]["state"] == "ready" for name in core),
        "parts": rows,
    }


def _row(outcome: Outcome | None) -> dict[str, Any]:
    match outcome:
        case Found():
            return {
                "state": "ready",
                "source": outcome.source,
                "detail": outcome.detail,
                "bin": outcome.bin,
                **outcome.facts,
            }
        case Missing():
            return {"state": "missing", "reason": outcome.reason, "remedy": outcome.remedy}
        case None:
            reason = "not set up yet"
            return {"state": "missing", "reason": reason, "remedy": "run tools/bootstrap"}


def look(parts: Mapping[str, Part]) -> dict[str, Outcome]:
    """What exists now; for what is missing, the reason from this clone's last bootstrap."""
    earlier = json.loads(FILE.read_text())["parts"] if FILE.is_file() else {}
    outcomes: dict[str, Outcome] = {}
    for name, part in parts.items():
        found = part.find()
        row = earlier.get(name, {})
        if found:
            outcomes[name] = found
        elif row.get("state") == "missing":
            outcomes[name] = Missing(row["reason"], remedy=row["remedy"])
    return outcomes


def save(status: Mapping[str, Any], outcomes: Mapping[str, Outcome]) -> None:
    """Write the status file, and the settings that tools/env reads."""
    write(FILE, f"{json.dumps(status, indent=1)}\n")
    found = [outcome for outcome in outcomes.values() if isinstance(outcome, Found)]
    folders = ":".join(outcome.bin for outcome in found if outcome.bin)
    settings = {name: value for outcome in found for name, value in outcome.env.items()}
    lines = [f"FLAKEUP_TOOLS={shlex.quote(folders)}"]
    lines += [f"export {name}={shlex.quote(value)}" for name, value in sorted(settings.items())]
    if VENV.is_dir():
        write(Path(ENV_FILE), "".join(f"{line}\n" for line in lines))
