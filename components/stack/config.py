"""Reads the config of the stack that runs: the only reader of pulumi.Config."""

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
from ..pipeline.config.stack import Settings, parse
from ..pipeline.transport.ssh import folder_of

STRUCTURED: Final = frozenset({"hosts", "activation", "rollout", "incus", "docker", "services"})
"""Keys that hold a map: the engine hands it over as JSON text."""


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
    values = {name: _decoded(name, config.get(name)) for name in names.values()}
    if "secrets" in (config.get("services") or ""):
        values["services"] = mark_clear_text(values["services"], _written(f"{prefix}services"))
    return parse(
        values,
        secret_keys=frozenset(
            name for key, name in names.items() if key in secrets or is_config_secret(key)
        ),
        project=config.name,
        stack=pulumi.get_stack(),
    )


def folder() -> Path:
    """The private folder of this stack's ssh files, relative to the program's."""
    return folder_of(pulumi.get_stack())


def _written(key: str) -> object:
    """What the stack's file has under a key, before anything is decrypted; None without a file.

    With `--config-file` it is another one: then the engine's word is all there is.
    """
    import yaml  # noqa: PLC0415 for stacks with such secrets alone

    try:
        whole = yaml.safe_load(Path(f"Pulumi.{pulumi.get_stack()}.yaml").read_text())
        return whole["config"][key]
    except (OSError, ValueError, yaml.YAMLError, LookupError, TypeError):
        return None


def _decoded(name: str, text: str | None) -> object:
    """Decode the JSON of a structured key; a text that is none stays, and is refused as text."""
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
