"""What the real engine makes of a stack's file: each text that it changes is refused, by name."""

import json
from pathlib import Path

import pytest

from harness.daemons.engine_stack import Stack, missing_engine
from harness.incus import ROOT

pytestmark = pytest.mark.e2e

PROGRAM = f"""
import sys

sys.path.insert(0, {json.dumps(str(ROOT))})
from components.pipeline.errors import ConfigError
from components.stack import config

try:
    config.load()
except ConfigError as error:
    print("problems:", *(one.line("x") for one in error.problems), "end", sep="\\n")
"""
HOST = "{address: 10.0.0.5, hostKey: x}"
CHANGED = {
    "2.10": "2.1",
    "1e5": "100000",
    "010": "8",
    "08": "8",
    "0x10": "16",
    "0o10": "8",
    "0b11": "3",
    "1_000": "1000",
    "+5": "5",
    "5.": "5",
    "123456789012345678901234567890": "1.2345678901234568e+29",
    "2024-01-01": "2024-01-01 00:00:00 +0000 UTC",
    "2024-01-01T10:00:00Z": "2024-01-01 10:00:00 +0000 UTC",
}
KEPT = ("v2.10", "22", "yes", "off", "12:30", '"2.10"', "'010'", "!!str 2.10", "1e400")


@pytest.fixture
def stack(tmp_path: Path) -> Stack:
    if reason := missing_engine():
        pytest.skip(reason)
    made = Stack(folder=tmp_path)
    made.init(PROGRAM)
    return made


def problems(stack: Stack, *words: str) -> list[str]:
    text = stack.run("preview", *words).text
    lines = [line.strip() for line in text.splitlines()]
    assert "problems:" in lines, text
    return lines[lines.index("problems:") + 1 : lines.index("end")]


def test_the_engines_reading_of_each_notation(stack: Stack) -> None:
    """As the value of a key, as a name in a map, in a map of texts and in a list."""
    file = stack.folder / "Pulumi.dev.yaml"
    changed, all_texts = list(CHANGED), [*CHANGED, *KEPT]
    env = ", ".join(f"A{index}: {text}" for index, text in enumerate(all_texts))
    # The engine itself refuses two names that it reads as one.
    named = {read: text for text, read in reversed(CHANGED.items())}.values()
    names = "\n".join(f"    {text}: {HOST}" for text in [*named, *KEPT[:5]])
    keys = "\n".join(f"  contract:x{index}: {text}" for index, text in enumerate(all_texts))
    file.write_text(
        f"{file.read_text()}config:\n{keys}\n"
        f"  contract:services: {{app: {{env: {{{env}}}, command: [{', '.join(all_texts)}]}}}}\n"
        f"  contract:hosts:\n{names}\n"
    )
    before = file.read_text()
    found = [line for line in problems(stack) if " YAML " in line]
    assert file.read_text() == before
    for index, text in enumerate(changed):
        read = CHANGED[text]
        said = f'{text}: is read by YAML as {read}. write "{text}"'
        for place in (f"x{index}", f"services.app.env.A{index}", f"services.app.command[{index}]"):
            assert [line for line in found if line.startswith(f"config x:{place}: {said}")], place
        name = f'{text}: is a name that YAML reads as "{read}". write "{text}"'
        assert len([line for line in found if line.endswith(name)]) == (text in named), name
    assert len(found) == 3 * len(changed) + len(named)


def test_a_file_that_the_flag_names_and_defaults_of_the_project(stack: Stack) -> None:
    salt = (stack.folder / "Pulumi.dev.yaml").read_text()
    (stack.folder / "Pulumi.dev.yaml").write_text(f"{salt}config: {{contract:appRef: v1}}\n")
    (stack.folder / "other.yaml").write_text(f"{salt}config: {{contract:appRef: 2.10}}\n")
    said = 'config x:appRef: 2.10: is read by YAML as 2.1. write "2.10", or 2.1 if that is meant'
    assert said not in problems(stack)
    assert said in problems(stack, "--config-file", "other.yaml")
    (stack.folder / "Pulumi.yaml").write_text(
        "name: contract\nruntime: python\nconfig: {appInput: {default: 2.10}}\n"
    )
    assert said.replace("appRef", "appInput") in problems(stack)
    # What `pulumi config set` writes is in quotes.
    stack.run_ok("config", "set", "appInput", "2.10")
    assert said.replace("appRef", "appInput") not in problems(stack)
