"""A stack under the real engine, in a folder of its own, with a plugin folder of its own."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from harness.providers.plugin_driver import PROJECT, Json

if TYPE_CHECKING:
    from pathlib import Path

ENV: Final = PROJECT / "tools" / "env"
_LONGEST: Final = 180.0


def missing_engine() -> str:
    """Why there is no engine here; empty when there is one."""
    if not os.access(ENV, os.X_OK):
        return "tools/env is missing"
    found = subprocess.run(
        (str(ENV), "sh", "-c", "command -v pulumi"), check=False, capture_output=True
    )
    return "" if found.returncode == 0 else "pulumi is missing: run tools/bootstrap"


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandResult:
    """How one run of the CLI ended."""

    status: int
    text: str


@dataclass(slots=True, kw_only=True)
class Stack:
    """A project with one stack; its program makes what `resources` says."""

    folder: Path
    resources: dict[str, Json] = field(default_factory=dict)

    def begin(self, program: str) -> None:
        """Write the project and its stack."""
        (self.folder / "Pulumi.yaml").write_text("name: contract\nruntime: python\n")
        (self.folder / "__main__.py").write_text(program)
        (self.folder / "state").mkdir()
        self.good("stack", "init", "dev")

    def use(self, plugin: Path, stand_in: Path, version: str) -> None:
        """Put a plugin where the engine looks for it."""
        place = self.folder / "home" / "plugins"
        name = stand_in.name.removeprefix("pulumi-")
        binary = place / f"{name}-v{version}" / stand_in.name
        binary.parent.mkdir(parents=True, exist_ok=True)
        binary.unlink(missing_ok=True)
        binary.symlink_to(plugin)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start the CLI on the present resources."""
        (self.folder / "resources.json").write_text(json.dumps(self.resources))
        environment = {key: value for key, value in os.environ.items() if key != "SSH_AUTH_SOCK"}
        environment |= {
            "PULUMI_HOME": str(self.folder / "home"),
            "PULUMI_BACKEND_URL": f"file://{self.folder}/state",
            "PULUMI_CONFIG_PASSPHRASE": "",
            "PULUMI_PARALLEL": "64",
            "PULUMI_IGNORE_AMBIENT_PLUGINS": "true",
            "NO_COLOR": "1",
        }
        return subprocess.Popen(
            (str(ENV), "pulumi", "--non-interactive", *arguments),
            cwd=self.folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, *arguments: str) -> CommandResult:
        """Run the CLI to its end."""
        process = self.start(*arguments)
        try:
            text, _ = process.communicate(timeout=_LONGEST)
        finally:
            process.kill()
        return CommandResult(status=process.returncode, text=text)

    def up(self) -> CommandResult:
        return self.run("up", "--yes", "--skip-preview")

    def good(self, *arguments: str) -> str:
        """Run the CLI, which must succeed."""
        said = self.run(*arguments)
        assert said.status == 0, said.text
        return said.text

    def good_up(self) -> str:
        return self.good("up", "--yes", "--skip-preview")

    def bad_up(self) -> str:
        """Run `up`, which must fail."""
        said = self.up()
        assert said.status != 0, said.text
        return said.text

    def planned(self) -> dict[str, str]:
        """What a preview would do, by resource; unchanged ones left out."""
        text = self.good("preview", "--json")
        told: dict[str, str] = {}
        for step in json.loads(text[text.index("{") :])["steps"]:
            if step["op"] != "same" and "pulumi:pulumi:" not in step["urn"]:
                told.setdefault(step["urn"].rsplit("::", 1)[-1], step["op"])
        return told

    def outputs(self) -> Json:
        return json.loads(self.good("stack", "output", "--json"))

    def stored(self) -> dict[str, Json]:
        """The resources in the state, by name, without the stack itself and its providers."""
        found = json.loads(self.good("stack", "export"))["deployment"].get("resources", [])
        return {
            each["urn"].rsplit("::", 1)[-1]: each
            for each in found
            if not each["type"].startswith("pulumi:")
        }
