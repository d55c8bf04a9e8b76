"""Drive the provider's Incus resources as the engine does, with one process per run."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from google.protobuf import json_format
from pulumi.runtime.proto import provider_pb2

from harness.providers.plugin_driver import (
    PROJECT,
    Json,
    Plugin,
    PluginError,
    from_struct,
    to_struct,
    urn,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

BINARY: Final = PROJECT / "providers" / "flakeup" / "pulumi-resource-flakeup"
IMAGE: Final = "flakeup:incus:Image"
INSTANCE: Final = "flakeup:incus:Instance"
VOLUME: Final = "flakeup:incus:Volume"


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """A diff: its paths, and those that force a replacement."""

    paths: frozenset[str]
    replaces: frozenset[str]
    deletes_first: bool


@dataclass(slots=True, kw_only=True)
class ResourceDriver:
    """One resource, as in a state."""

    kind: str
    socket: Path
    name: str = "it"
    identity: str = ""
    inputs: dict[str, Json] = field(default_factory=dict)
    state: dict[str, Json] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)
    """What the user saw in the last run, without ephemeral messages."""

    @contextlib.contextmanager
    def run(self) -> Iterator[Plugin]:
        """A provider process for one run of the engine."""
        with Plugin.run(BINARY, environment={"INCUS_SOCKET": str(self.socket)}) as plugin:
            yield plugin
            self.messages = [one.text for one in plugin.engine.messages if not one.ephemeral]

    @property
    def urn(self) -> str:
        """Its URN."""
        return urn(self.kind, self.name)

    def preview_create(self, inputs: Json) -> dict[str, Json]:
        """The outputs that a preview of its creation shows."""
        with self.run() as plugin:
            return plugin.create(self.kind, inputs, preview=True, name=self.name)[1]

    def create(self, inputs: Json) -> None:
        """Create it; after a partial failure, the state has what was created."""
        with self.run() as plugin:
            checked = plugin.checked(self.kind, inputs)
            try:
                made = plugin.create(self.kind, inputs, name=self.name)
            except PluginError as error:
                if error.partial is not None:
                    self.identity, self.inputs = error.partial.id, checked
                    self.state = from_struct(error.partial.properties)
                raise
            self.identity, self.state = made
            self.inputs = checked

    def diff(self, inputs: Json | None = None, ignored: Sequence[str] = ()) -> Changes:
        """What another run would change."""
        with self.run() as plugin:
            return self.diff_in(plugin, inputs, ignored)

    def diff_in(
        self, plugin: Plugin, inputs: Json | None = None, ignored: Sequence[str] = ()
    ) -> Changes:
        """What this run would change."""
        request = provider_pb2.DiffRequest(
            id=self.identity,
            urn=self.urn,
            olds=to_struct(self.state),
            news=to_struct(self._checked(plugin, inputs)),
            old_inputs=to_struct(self.inputs),
            ignoreChanges=ignored,
        )
        answer = plugin.call("Diff", request)
        some = answer.changes == provider_pb2.DiffResponse.DIFF_SOME
        assert some == bool(answer.detailedDiff)
        return Changes(
            paths=frozenset(answer.detailedDiff),
            replaces=frozenset(answer.replaces),
            deletes_first=answer.deleteBeforeReplace,
        )

    def up(self, inputs: Json | None = None) -> Changes:
        """What a run of the engine does: a diff, and an update if it finds changes."""
        with self.run() as plugin:
            changes = self.diff_in(plugin, inputs)
            if changes.paths and not changes.replaces:
                self._update(plugin, inputs, preview=False)
            return changes

    def update(self, inputs: Json | None = None, *, preview: bool = False) -> dict[str, Json]:
        """Update it, even without changes; a preview does not change the state."""
        with self.run() as plugin:
            return self._update(plugin, inputs, preview=preview)

    def _update(self, plugin: Plugin, inputs: Json | None, *, preview: bool) -> dict[str, Json]:
        checked = self._checked(plugin, inputs)
        request = provider_pb2.UpdateRequest(
            id=self.identity,
            urn=self.urn,
            olds=to_struct(self.state),
            news=to_struct(checked),
            old_inputs=to_struct(self.inputs),
            preview=preview,
        )
        state = from_struct(plugin.call("Update", request).properties)
        if not preview:
            self.inputs, self.state = checked, state
        return state

    def read(self) -> bool:
        """Refresh it, or import it if only its id is known; returns whether it exists."""
        with self.run() as plugin:
            request = provider_pb2.ReadRequest(
                id=self.identity,
                urn=self.urn,
                properties=to_struct(self.state),
                inputs=to_struct(self.inputs),
            )
            answer = plugin.call("Read", request)
        if not answer.id:
            return False
        self.inputs, self.state = from_struct(answer.inputs), from_struct(answer.properties)
        return True

    def delete(self) -> None:
        """Delete it."""
        with self.run() as plugin:
            request = provider_pb2.DeleteRequest(
                id=self.identity,
                urn=self.urn,
                properties=to_struct(self.state),
                old_inputs=to_struct(self.inputs),
            )
            plugin.call("Delete", request)

    def _checked(self, plugin: Plugin, inputs: Json | None) -> dict[str, Json]:
        return self.inputs if inputs is None else plugin.checked(self.kind, inputs)


def observed(plugin: Plugin, project: str = "default") -> dict[str, Json]:
    """The instances that the provider reports to a program."""
    request = provider_pb2.InvokeRequest(
        tok="flakeup:incus:observe", args=to_struct({"remote": "local", "project": project})
    )
    answer = plugin.call("Invoke", request)
    found: dict[str, Json] = json_format.MessageToDict(getattr(answer, "return"))["instances"]
    return found
