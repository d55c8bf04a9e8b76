"""The plugin: its resources, and the one function that a preview asks."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

from plugin_protocol.plugin import Plugin

from components.pipeline.incus.seen import unheard
from flakeup_plugin import VERSION
from flakeup_plugin.docker import Daemons
from flakeup_plugin.docker_image import DockerImageResource
from flakeup_plugin.docker_tasks import TasksResource
from flakeup_plugin.docker_traffic import TrafficResource
from flakeup_plugin.docker_trial import TrialResource
from flakeup_plugin.image import ImageResource
from flakeup_plugin.instance import InstanceResource
from flakeup_plugin.servers import Servers, place_of
from flakeup_plugin.volume import VolumeResource

if TYPE_CHECKING:
    from plugin_protocol.inputs import Inputs
    from plugin_protocol.values import Properties

OBSERVE: Final = "flakeup:incus:observe"


class FlakeupPlugin(Plugin):
    """One process speaks with Incus: a preview of any number of instances is one request."""

    name: ClassVar[str] = "flakeup"
    version: ClassVar[str] = VERSION

    def __init__(self) -> None:
        """No server is asked yet."""
        self._servers, self._daemons = Servers(), Daemons()
        self.resources = (
            ImageResource(self._servers),
            InstanceResource(self._servers),
            VolumeResource(self._servers),
            DockerImageResource(self._daemons),
            TrialResource(self._daemons),
            TrafficResource(self._daemons),
            TasksResource(self._daemons),
        )

    async def close(self) -> None:
        """End what was kept open."""
        await self._daemons.close()

    async def call(self, function: str, arguments: Inputs) -> Properties | None:
        """`observe`: the instances of a project, by name."""
        if function != OBSERVE:
            return None
        place = place_of(arguments)
        seen = await self._servers.instances(place)
        return {
            "instances": {
                name: {
                    "address": one.address,
                    "hostKey": one.host_key,
                    "owner": one.owner,
                    "running": one.running,
                    **(
                        {"trouble": unheard(one.member, place.remote, place.project)}
                        if one.silent
                        else {}
                    ),
                }
                for name, one in seen.items()
            }
        }
