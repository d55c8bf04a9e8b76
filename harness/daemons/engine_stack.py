"""A stack of the real engine, with state and plugins in a folder of its own."""

from __future__ import annotations

import json
import os
import subprocess
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from harness.command_result import CommandResult
from harness.providers.plugin_driver import PROJECT, Json

if TYPE_CHECKING:
    from pathlib import Path

ENV: Final = PROJECT / "tools" / "env"
_TIMEOUT: Final = 180.0


def missing_engine() -> str:
    """Why this machine has no engine; empty if it has one."""
    if not os.access(ENV, os.X_OK):
        return "tools/env is missing"
    found = subprocess.run(
        (str(ENV), "sh", "-c", "command -v pulumi"), check=False, capture_output=True
    )
    return "" if found.returncode == 0 else "pulumi is missing: run tools/bootstrap"


@dataclass(slots=True, kw_only=True)
class Stack:
    """A project with one stack, whose program creates `resources`."""

    folder: Path
    resources: dict[str, Json] = field(default_factory=dict)

    def init(self, program: str) -> None:
        """Write the project, and initialise the stack."""
        (self.folder / "Pulumi.yaml").write_text("name: contract\nruntime: python\n")
        (self.folder / "__main__.py").write_text(program)
        (self.folder / "state").mkdir()
        self.run_ok("stack", "init", "dev")

    def install_plugin(self, plugin: Path, stand_in: Path, version: str) -> None:
        """Link a plugin into the engine's plugin folder."""
        plugins = self.folder / "home" / "plugins"
        name = stand_in.name.removeprefix("pulumi-")
        binary = plugins / f"{name}-v{version}" / stand_in.name
        binary.parent.mkdir(parents=True, exist_ok=True)
        binary.unlink(missing_ok=True)
        binary.symlink_to(plugin)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start the CLI with the current resources."""
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
        """Run the CLI, and wait for its result."""
        began = time.monotonic()
        process = self.start(*arguments)
        try:
            text, _ = process.communicate(timeout=_TIMEOUT)
        finally:
            process.kill()
        seconds = time.monotonic() - began
        return CommandResult(code=process.returncode, text=text, seconds=seconds)

    def up(self) -> CommandResult:
        return self.run("up", "--yes", "--skip-preview")

    def run_ok(self, *arguments: str) -> str:
        """Run the CLI, which must succeed."""
        result = self.run(*arguments)
        assert result.code == 0, result.text
        return result.text

    def up_ok(self) -> str:
        return self.run_ok("up", "--yes", "--skip-preview")

    def up_fails(self) -> str:
        """Run `up`, which must fail."""
        result = self.up()
        assert result.code != 0, result.text
        return result.text

    def preview(self) -> dict[str, str]:
        """The operations of a preview by resource, without unchanged ones."""
        text = self.run_ok("preview", "--json")
        operations: dict[str, str] = {}
        for step in json.loads(text[text.index("{") :])["steps"]:
            if step["op"] != "same" and "pulumi:pulumi:" not in step["urn"]:
                operations.setdefault(step["urn"].rsplit("::", 1)[-1], step["op"])
        return operations

    def outputs(self) -> Json:
        return json.loads(self.run_ok("stack", "output", "--json"))

    def resources_in_state(self) -> dict[str, Json]:
        """The resources in the state, by name, without the stack and its providers."""
        found = json.loads(self.run_ok("stack", "export"))["deployment"].get("resources", [])
        return {
            each["urn"].rsplit("::", 1)[-1]: each
            for each in found
            if not each["type"].startswith("pulumi:")
        }
