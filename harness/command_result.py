"""The result of a `pulumi` command, and what can be read from its output."""

import json
import re
from dataclasses import dataclass
from typing import Any

TOPLEVEL = re.compile(r"/nix/store/[0-9a-z]{32}-nixos-system-[A-Za-z0-9._+-]+")
Json = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandResult:
    """A finished command; `text` is its stdout and stderr, interleaved as they were printed."""

    code: int
    text: str
    seconds: float

    @property
    def json(self) -> Json:
        """The JSON object in the output."""
        found: Json = json.loads(self.text[self.text.index("{\n") :])
        return found

    def summary(self) -> dict[str, int]:
        """The counts under `Resources:`, such as `{"updated": 6, "unchanged": 4}`."""
        _, _, rest = self.text.rpartition("Resources:\n")
        block, _, _ = rest.partition("\n\n")
        found = re.findall(r"(\d+) (?:to )?([a-z]+)", block)
        return {what: int(count) for count, what in found}

    def systems(self) -> dict[str, str]:
        """From the JSON of a preview: the new system of each host that changes."""
        switches = (
            (step["urn"].rsplit("::", 1)[1].removesuffix("-switch"), step["newState"])
            for step in self.json["steps"]
            if step["urn"].endswith("-switch") and step["op"] != "same"
        )
        return {name: new["inputs"]["create"].rsplit(" ", 1)[1] for name, new in switches}

    def diagnostics(self) -> str:
        """The `Diagnostics:` block at the end of the output."""
        _, _, rest = self.text.rpartition("Diagnostics:\n")
        return re.split(r"^(?:Outputs|Resources):$", rest, maxsplit=1, flags=re.MULTILINE)[0]

    def errors(self) -> list[str]:
        """The errors in the diagnostics, one per resource, without the engine's closing line."""
        blocks = re.split(r"^  \S.*:$", self.diagnostics(), flags=re.MULTILINE)
        texts = ("\n".join(line.strip() for line in block.splitlines()) for block in blocks)
        found = (text.partition("error: ")[2].strip() for text in texts)
        found = (text.removeprefix("Preview failed: ") for text in found)
        return [text for text in found if text not in {"", "update failed", "preview failed"}]
