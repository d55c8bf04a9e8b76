"""Reads the config of the current stack: the only reader of pulumi.Config."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import pulumi
from pulumi.runtime.config import (
    CONFIG,
    get_config_env,
    get_config_secret_keys_env,
    is_config_secret,
)

from ..pipeline.config.section import Repeated
from ..pipeline.config.service_secrets import mark_clear_text
from ..pipeline.config.stack import STACK, Settings, parse
from ..pipeline.transport.ssh_files import folder_of
from .config_file import read_written

STRUCTURED: Final = frozenset(
    key.name for key in STACK.keys if key.is_read_by_its_module or key.read
)
"""Keys that hold a map or a list: the engine passes it as JSON text."""


def load() -> Settings:
    """Read the settings of this stack, from the project's own namespace alone.

    Raises:
        ConfigError: all problems of the config at once.
    """
    config = pulumi.Config()
    prefix = f"{config.name}:"
    # pulumi.Config can be asked for a key, but not which keys there are, and an unknown key is
    # a problem too. CONFIG is filled by the automation API, the environment by the engine.
    full = [key for key in {**CONFIG.get(), **get_config_env()} if key.startswith(prefix)]
    secrets = frozenset(get_config_secret_keys_env())
    names = {key: key.removeprefix(prefix) for key in full}
    values = {name: _decode(name, config.get(name)) for name in names.values()}
    written = read_written(config.name, pulumi.get_stack())
    if "secrets" in (config.get("services") or ""):
        values["services"] = mark_clear_text(values["services"], written.get("services"))
    return parse(
        values,
        secret_keys=frozenset(
            name for key, name in names.items() if key in secrets or is_config_secret(key)
        ),
        written=written,
        project=config.name,
        stack=pulumi.get_stack(),
    )


def folder() -> Path:
    """The private folder for this stack's ssh files, relative to the program's."""
    return folder_of(pulumi.get_stack())


def _decode(name: str, text: str | None) -> object:
    """Decode the JSON of a structured key; any other text stays, and is refused as text."""
    if name not in STRUCTURED or text is None:
        return text
    try:
        return json.loads(text, object_pairs_hook=_object)
    except (ValueError, RecursionError):
        return text


def _object(pairs: Iterable[tuple[str, object]]) -> dict[str, object]:
    made: dict[str, object] = {}
    for key, value in pairs:
        made[key] = Repeated() if key in made else value
    return made
