"""Drives a `docker` provider plugin as the engine does.

It is the one that `FLAKEUP_DOCKER_PLUGIN` names, else the stand-in in tools/standins/docker.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from pulumi.runtime.proto import provider_pb2

from harness.providers import plugin_driver
from harness.providers.plugin_driver import PROJECT, Json, from_struct, to_struct, urn

if TYPE_CHECKING:
    from collections.abc import Mapping

STAND_IN: Final = PROJECT / "tools" / "standins" / "docker" / "pulumi-resource-docker"
CONTAINER: Final = "docker:index/container:Container"
NETWORK: Final = "docker:index/network:Network"
VOLUME: Final = "docker:index/volume:Volume"
_KINDS: Final = provider_pb2.PropertyDiff.Kind


def plugin_path() -> Path:
    """The executable of the plugin under test."""
    return Path(os.environ.get("FLAKEUP_DOCKER_PLUGIN") or STAND_IN).resolve()


def is_stand_in() -> bool:
    """Whether the stand-in is under test."""
    return plugin_path() == STAND_IN


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceState:
    """A resource as the engine records it."""

    kind: str
    id: str
    inputs: dict[str, Json]
    state: dict[str, Json]


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """The result of a diff: kinds of change by path, and the order of a replacement."""

    kinds: dict[str, str]
    deletes_first: bool

    @property
    def replaces(self) -> bool:
        return any("REPLACE" in kind for kind in self.kinds.values())


class Plugin(plugin_driver.Plugin):
    """The plugin under test, running; its `*_resource` methods work on `ResourceState`."""

    @classmethod
    def start(
        cls,
        settings: Mapping[str, Json] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> Self:
        """Start it and configure it."""
        return cls.run(plugin_path(), settings=settings, environment=environment)

    def create_resource(
        self, kind: str, inputs: Mapping[str, Json], *, name: str, timeout: float = 0
    ) -> ResourceState:
        """Check and create."""
        checked = self.checked(kind, inputs, name=name)
        request = provider_pb2.CreateRequest(
            urn=urn(kind, name), properties=to_struct(checked), timeout=timeout
        )
        response = self.call("Create", request)
        state = from_struct(response.properties)
        return ResourceState(kind=kind, id=response.id, inputs=checked, state=state)

    def diff_resource(self, resource: ResourceState, inputs: Mapping[str, Json]) -> Changes:
        """Check and diff."""
        return self.diff_checked(resource, self.checked(resource.kind, inputs, old=resource.inputs))

    def diff_checked(self, resource: ResourceState, checked: Mapping[str, Json]) -> Changes:
        """Diff without a check, as a refresh does."""
        request = provider_pb2.DiffRequest(
            id=resource.id,
            urn=urn(resource.kind),
            olds=to_struct(resource.state),
            old_inputs=to_struct(resource.inputs),
            news=to_struct(checked),
        )
        response = self.call("Diff", request)
        kinds = {path: _KINDS.Name(each.kind) for path, each in response.detailedDiff.items()}
        assert (response.changes == provider_pb2.DiffResponse.DIFF_SOME) == bool(kinds)
        return Changes(kinds=kinds, deletes_first=response.deleteBeforeReplace)

    def update_resource(self, resource: ResourceState, inputs: Mapping[str, Json]) -> ResourceState:
        """Check and update."""
        checked = self.checked(resource.kind, inputs, old=resource.inputs)
        request = provider_pb2.UpdateRequest(
            id=resource.id,
            urn=urn(resource.kind),
            olds=to_struct(resource.state),
            old_inputs=to_struct(resource.inputs),
            news=to_struct(checked),
        )
        state = from_struct(self.call("Update", request).properties)
        return ResourceState(kind=resource.kind, id=resource.id, inputs=checked, state=state)

    def refresh(self, resource: ResourceState) -> ResourceState | None:
        """Read it; None if it is gone."""
        request = provider_pb2.ReadRequest(
            id=resource.id,
            urn=urn(resource.kind),
            properties=to_struct(resource.state),
            inputs=to_struct(resource.inputs),
        )
        return _read(resource.kind, self.call("Read", request))

    def import_resource(self, kind: str, resource_id: str) -> ResourceState | None:
        """Read a resource that is not in the state; None if there is none."""
        request = provider_pb2.ReadRequest(id=resource_id, urn=urn(kind))
        return _read(kind, self.call("Read", request))

    def delete_resource(self, resource: ResourceState, timeout: float = 0) -> None:
        """Delete."""
        request = provider_pb2.DeleteRequest(
            id=resource.id,
            urn=urn(resource.kind),
            properties=to_struct(resource.state),
            old_inputs=to_struct(resource.inputs),
            timeout=timeout,
        )
        self.call("Delete", request)


def partial_state(error: plugin_driver.PluginError, kind: str) -> ResourceState:
    """What a partially failed create or update records in the state."""
    partial: Any = error.partial
    assert partial is not None, str(error)
    inputs, state = from_struct(partial.inputs), from_struct(partial.properties)
    return ResourceState(kind=kind, id=partial.id, inputs=inputs, state=state)


def _read(kind: str, response: Any) -> ResourceState | None:
    if not response.id:
        return None
    inputs, state = from_struct(response.inputs), from_struct(response.properties)
    return ResourceState(kind=kind, id=response.id, inputs=inputs, state=state)
