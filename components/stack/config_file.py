"""What the files of a stack's config have, with each scalar as it is written there."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import pulumi
import yaml
from pulumi.runtime import get_root_directory

from ..pipeline.config.misread import Plain
from . import cli

_EXTENSIONS: Final = (".yaml", ".yml", ".json")
_FLAG: Final = "--config-file"
_VARIABLE: Final = "PULUMI_OPTION_CONFIG_FILE"


def read_written(project: str, stack: str) -> dict[str, object]:
    """Read the project's defaults and the stack's file, by key, with secrets still encrypted.

    A scalar without quotes is a `Plain`. A file that is not there has nothing. Values that an
    environment of Pulumi ESC adds are in no file.
    """
    folder = Path(get_root_directory() or ".")
    project_file = next(
        (file for end in _EXTENSIONS if (file := folder / f"Pulumi{end}").is_file()),
        folder / "Pulumi.yaml",
    )
    whole = _read(project_file)
    declared = {key: _default(value) for key, value in _config(whole, project)}
    defaults = {key: value for key, value in declared.items() if value is not None}
    where = whole.get("stackConfigDir")
    name = f"Pulumi.{stack}{project_file.suffix}"
    usual = folder / (where if isinstance(where, str) else "") / name
    return {**defaults, **dict(_config(_read(_other_file() or usual), project))}


def _config(whole: Mapping[str, object], project: str) -> Iterator[tuple[str, object]]:
    config = whole.get("config")
    for key, value in config.items() if isinstance(config, dict) else ():
        namespace, _, name = key.rpartition(":")
        if namespace in {"", project}:
            yield name, value


def _default(value: object) -> object:
    """Give what a project declares for a key: the value itself, or a map that has it."""
    return value.get("value", value.get("default")) if isinstance(value, Mapping) else value


def _read(file: Path) -> dict[str, Any]:
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, ValueError):
        return {}
    loader = yaml.CBaseLoader if yaml.__with_libyaml__ else yaml.BaseLoader
    try:
        found = _as_written(yaml.compose(text, Loader=loader), {})
    except (yaml.YAMLError, RecursionError) as error:
        where = str(error).replace("\n", " ")
        pulumi.log.warn(f"{file}: cannot be compared with what the engine has read: {where}")
        return {}
    return found if isinstance(found, dict) else {}


def _as_written(node: yaml.Node | None, known: dict[int, object]) -> object:
    """Give a node as texts, lists and maps; an alias is the node that it stands for."""
    if id(node) not in known:
        match node:
            case yaml.ScalarNode(value=str(text)):
                known[id(node)] = text if node.style else Plain(text)
            case yaml.SequenceNode():
                known[id(node)] = [_as_written(one, known) for one in node.value]
            case yaml.MappingNode():
                known[id(node)] = _map(node, known)
            case _:
                return None
    return known[id(node)]


def _map(node: yaml.MappingNode, known: dict[int, object]) -> dict[object, object]:
    merged: dict[object, object] = {}
    own: dict[object, object] = {}
    for key_node, value_node in node.value:
        key, value = _as_written(key_node, known), _as_written(value_node, known)
        if isinstance(key, Plain) and key == "<<":
            for more in value if isinstance(value, list) else [value]:
                merged = {**more, **merged} if isinstance(more, dict) else merged
        elif isinstance(key, str):
            own[key] = value
    return {**merged, **own}


def _other_file() -> Path | None:
    """Give the file that `--config-file` names, or the variable that stands for it."""
    named = _named_by_flag()
    if named is None and (variable := os.environ.get(_VARIABLE)):
        return Path(variable)
    return named


def _named_by_flag() -> Path | None:
    """Look for the flag in the command line of the CLI; if that is not known, there is none."""
    process = cli.find()
    value = _value_of_flag(process.argv) if process else ""
    return process.folder / value if process and value else None


def _value_of_flag(words: tuple[str, ...]) -> str:
    found = ""
    for word, following in zip(words, (*words[1:], ""), strict=True):
        if word == _FLAG:
            found = following
        elif word.startswith(f"{_FLAG}="):
            found = word.removeprefix(f"{_FLAG}=")
    return found
