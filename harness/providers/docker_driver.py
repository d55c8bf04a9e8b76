"""Drives a `docker` provider plugin as the engine does.

Which one is `FLAKEUP_DOCKER_PLUGIN`, or the project's own in tools/standins/docker.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from pulumi.runtime.proto import provider_pb2

from harness.providers import plugin_driver
from harness.providers.plugin_driver import PROJECT, Json, plain, struct, urn

if TYPE_CHECKING:
    from collections.abc import Mapping

STAND_IN: Final = PROJECT / "tools" / "standins" / "docker" / "pulumi-resource-docker"
CONTAINER: Final = "docker:index/container:Container"
NETWORK: Final = "docker:index/network:Network"
VOLUME: Final = "docker:index/volume:Volume"
_KINDS: Final = provider_pb2.PropertyDiff.Kind


def plugin_path() -> Path:
    """The plugin under test."""
    return Path(os.environ.get("FLAKEUP_DOCKER_PLUGIN") or STAND_IN).resolve()


def is_stand_in() -> bool:
    """Whether the project's own plugin is under test."""
    return plugin_path() == STAND_IN


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A resource as the engine would have it in its state."""

    kind: str
    id: str
    inputs: dict[str, Json]
    state: dict[str, Json]


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What a diff says: kinds of change by path, and how a replacement is done."""

    kinds: dict[str, str]
    deletes_first: bool

    @property
    def replaces(self) -> bool:
        return any("REPLACE" in kind for kind in self.kinds.values())


class Plugin(plugin_driver.Plugin):
    """The plugin under test, running."""

    @classmethod
    def start(
        cls,
        settings: Mapping[str, Json] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> Self:
        """Start it and configure it."""
        return cls.run(plugin_path(), settings=settings, environment=environment)

    def proposed(
        self,
        kind: str,
        inputs: Mapping[str, Json],
        *,
        name: str,
        old: Mapping[str, Json] | None = None,
        seed: bytes = b"seed",
    ) -> tuple[dict[str, Json], list[str]]:
        """The checked inputs of a resource of that name, and what is wrong."""
        request = provider_pb2.CheckRequest(
            urn=urn(kind, name), olds=struct(old or {}), news=struct(inputs), randomSeed=seed
        )
        answer = self.ask("Check", request)
        failures = [f"{failure.property}: {failure.reason}" for failure in answer.failures]
        return plain(answer.inputs), failures

    def good(self, kind: str, inputs: Mapping[str, Json], *, name: str) -> dict[str, Json]:
        checked, failures = self.proposed(kind, inputs, name=name)
        assert failures == []
        return checked

    def make(self, kind: str, inputs: Mapping[str, Json], *, name: str, timeout: float = 0) -> Made:
        """Check and create."""
        checked = self.good(kind, inputs, name=name)
        request = provider_pb2.CreateRequest(
            urn=urn(kind, name), properties=struct(checked), timeout=timeout
        )
        answer = self.ask("Create", request)
        return Made(kind=kind, id=answer.id, inputs=checked, state=plain(answer.properties))

    def changes(self, made: Made, inputs: Mapping[str, Json]) -> Changes:
        """What new inputs would change."""
        checked, failures = self.proposed(made.kind, inputs, name="it", old=made.inputs)
        assert failures == []
        return self.compared(made, checked)

    def compared(self, made: Made, checked: Mapping[str, Json]) -> Changes:
        """What inputs would change, without a check: as a refresh asks."""
        request = provider_pb2.DiffRequest(
            id=made.id,
            urn=urn(made.kind),
            olds=struct(made.state),
            old_inputs=struct(made.inputs),
            news=struct(checked),
        )
        answer = self.ask("Diff", request)
        kinds = {path: _KINDS.Name(each.kind) for path, each in answer.detailedDiff.items()}
        assert (answer.changes == provider_pb2.DiffResponse.DIFF_SOME) == bool(kinds)
        return Changes(kinds=kinds, deletes_first=answer.deleteBeforeReplace)

    def changed(self, made: Made, inputs: Mapping[str, Json]) -> Made:
        """Check and update."""
        checked, failures = self.proposed(made.kind, inputs, name="it", old=made.inputs)
        assert failures == []
        request = provider_pb2.UpdateRequest(
            id=made.id,
            urn=urn(made.kind),
            olds=struct(made.state),
            old_inputs=struct(made.inputs),
            news=struct(checked),
        )
        state = plain(self.ask("Update", request).properties)
        return Made(kind=made.kind, id=made.id, inputs=checked, state=state)

    def refreshed(self, made: Made) -> Made | None:
        """Look at it; None when it is gone."""
        request = provider_pb2.ReadRequest(
            id=made.id,
            urn=urn(made.kind),
            properties=struct(made.state),
            inputs=struct(made.inputs),
        )
        return _read(made.kind, self.ask("Read", request))

    def imported(self, kind: str, identity: str) -> Made | None:
        """Look at what the engine does not know yet."""
        return _read(kind, self.ask("Read", provider_pb2.ReadRequest(id=identity, urn=urn(kind))))

    def remove(self, made: Made, timeout: float = 0) -> None:
        """Delete."""
        request = provider_pb2.DeleteRequest(
            id=made.id,
            urn=urn(made.kind),
            properties=struct(made.state),
            old_inputs=struct(made.inputs),
            timeout=timeout,
        )
        self.ask("Delete", request)


def left(error: plugin_driver.FailedError, kind: str) -> Made:
    """What a failed create has left in the state."""
    found: Any = error.left
    assert found is not None, str(error)
    return Made(kind=kind, id=found.id, inputs=plain(found.inputs), state=plain(found.properties))


def _read(kind: str, answer: Any) -> Made | None:
    if not answer.id:
        return None
    inputs, state = plain(answer.inputs), plain(answer.properties)
    return Made(kind=kind, id=answer.id, inputs=inputs, state=state)
