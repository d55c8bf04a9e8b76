"""What was evaluated before, kept in files: evaluation depends on nothing but the key.

A derivation may have been garbage collected since: then it is evaluated again.
"""

import contextlib
import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..process import files
from ..release import nix
from ..values import StorePath
from .attribute import EvaluatedAttr


def load(*key: str) -> EvaluatedAttr | None:
    """The evaluated attribute under a key, if its derivation is in this machine's store."""
    return _load(_file("systems", _digest(key)))


def load_output(out: StorePath) -> EvaluatedAttr | None:
    """The attribute that evaluated to this output, if it was evaluated on this machine."""
    found = _load(_file("outputs", out.digest))
    return found if found and found.out_path == out else None


def save(evaluated: EvaluatedAttr, *key: str) -> None:
    """Keep an evaluated attribute, under its key and its output."""
    _save(_file("systems", _digest(key)), evaluated)
    _save(_file("outputs", evaluated.out_path.digest), evaluated)


def parse(attr: str, paths: Mapping[str, Any]) -> EvaluatedAttr:
    """An evaluated attribute from `{"drv": …, "out": …}`.

    Raises:
        KeyError: one of them is missing.
        InvalidValue: one of them is not a store path.
    """
    drv, out = StorePath.parse(paths["drv"]), StorePath.parse(paths["out"])
    return EvaluatedAttr(attr=attr, drv_path=drv, out_path=out)


def _digest(key: tuple[str, ...]) -> str:
    return hashlib.sha256(json.dumps(key).encode()).hexdigest()[:32]


def _file(kind: str, digest: str) -> Path:
    folder = nix.cache_folder() / kind
    folder.mkdir(exist_ok=True)
    return folder / f"{digest}.json"


def _load(file: Path) -> EvaluatedAttr | None:
    try:
        fields: dict[str, Any] = json.loads(file.read_bytes())
        found = parse(str(fields["attr"]), fields)
        found = replace(found, activation=dict(fields.get("activation") or {}))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return found if nix.is_present(found.drv_path) else None


def _save(file: Path, evaluated: EvaluatedAttr) -> None:
    fields: dict[str, object] = {
        "attr": evaluated.attr,
        "drv": evaluated.drv_path.path,
        "out": evaluated.out_path.path,
        "activation": evaluated.activation,
    }
    # What cannot be kept, for example because the disk is full, is evaluated again.
    with contextlib.suppress(OSError):
        files.replace(file, json.dumps(fields))
