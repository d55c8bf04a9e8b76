"""docs/config.schema.json: what an editor takes and refuses in Pulumi.<stack>.yaml."""

import copy
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.pipeline.config.json_schema import page
from tests.unit.config.config_cases import cases

ROOT = Path(__file__).parents[2]
FILE = ROOT / "docs" / "config.schema.json"
SCHEMA = json.loads(FILE.read_text())
STACKS = ("dev", "prod", "staging")
TYPES: dict[str, type] = {
    "object": dict,
    "array": list,
    "string": str,
    "integer": int,
}


def problems(value: object, schema: dict[str, Any] = SCHEMA, path: str = "") -> list[str]:
    """What draft 7 has against a value, as far as our schema uses it; by path."""
    if "$ref" in schema:
        schema = SCHEMA["$defs"][schema["$ref"].rpartition("/")[2]]
    if not _is_valid(value, schema, path):
        return [path]
    if isinstance(value, list):
        return [bad for one in value for bad in problems(one, schema.get("items", {}), path)]
    return _in_map(value, schema, path) if isinstance(value, dict) else []


def _is_valid(value: object, schema: dict[str, Any], path: str) -> bool:
    """Whether a value is right itself, whatever is in it."""
    names = schema.get("type", list(TYPES))
    kinds = tuple(TYPES[name] for name in ([names] if isinstance(names, str) else names))
    any_of = schema.get("anyOf", [])
    return (
        any(value is one or value == one for one in schema.get("enum", [value]))
        and (isinstance(value, kinds) or "type" not in schema)
        and (not isinstance(value, str) or bool(re.search(schema.get("pattern", ""), value)))
        and (not isinstance(value, int) or value >= schema.get("minimum", value))
        and (not isinstance(value, int) or value <= schema.get("maximum", value))
        and (not any_of or any(problems(value, one, path) == [] for one in any_of))
    )


def _in_map(value: dict[str, object], schema: dict[str, Any], path: str) -> list[str]:
    found = [path for name in schema.get("required", ()) if name not in value]
    for name, one in value.items():
        patterns = schema.get("patternProperties", {})
        matching = [inner for pattern, inner in patterns.items() if re.search(pattern, name)]
        inner = schema.get("properties", {}).get(name)
        schemas = [inner] if inner is not None else matching
        rest = schema.get("additionalProperties", True)
        if not schemas and rest is False:
            found.append(f"{path}.{name}")
        elif not schemas and rest is not True:
            schemas = [rest]
        found += [bad for each in schemas for bad in problems(one, each, f"{path}.{name}")]
    return found


def stack(name: str) -> dict[str, Any]:
    file: dict[str, Any] = yaml.safe_load((ROOT / f"Pulumi.{name}.yaml").read_text())
    return file


def test_the_schema_is_current() -> None:
    """To repair: make docs."""
    assert FILE.read_text() == page()


@pytest.mark.parametrize("name", STACKS)
def test_the_repositorys_stacks_are_accepted(name: str) -> None:
    assert problems(stack(name)) == []


def test_every_accepted_config_case_is_accepted() -> None:
    """But not the reverse: the grammar of texts, and what two keys are together, is not in it."""
    for case in cases():
        if not case.messages:
            config = {f"flakeup:{name}": value for name, value in case.raw.items()}
            assert problems({"config": config}) == [], case.name


def test_secrets_and_other_namespaces_are_accepted() -> None:
    config = copy.deepcopy(stack("dev"))
    secure = {"secure": "v1:abc"}
    config["config"]["flakeup:sshKey"] = secure
    config["config"]["flakeup:services"]["app"]["secrets"] = {"TOKEN": secure}
    config["config"]["flakeup:services"]["app"]["env"] = {"TOKEN": secure, "PLAIN": "x"}
    config["config"]["aws:region"] = "eu-central-1"
    assert problems(config | {"encryptionsalt": "v1:abc"}) == []


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("apRef",), "v1"),
        (("hosts", "web1", "adress"), "x"),
        (("hosts", "web1", "target"), "ec2"),
        (("hosts", "web1", "port"), 65536),
        (("incus", "bootTimeout"), "2 min"),
        (("activation", "keepGenerations"), 1),
        (("activation", "checks", "web", "udp"), "x"),
        (("services", "app", "command"), "x"),
    ],
)
def test_an_invalid_value_is_refused_where_it_is(place: tuple[str, ...], value: object) -> None:
    config = copy.deepcopy(stack("dev"))
    first, *inner = place
    *parents, last = (f"flakeup:{first}", *inner)
    parent = config["config"]
    for name in parents:
        parent = parent[name]
    parent[last] = value
    assert problems(config) == [".".join(("", "config", *parents, last))]
