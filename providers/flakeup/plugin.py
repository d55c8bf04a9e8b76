"""The plugin: its resource types, and the function that a preview calls."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

from ..sdk.plugin import Plugin
from . import VERSION
from .docker import Daemons
from .docker_candidate import CandidateResource
from .docker_image import DockerImageResource
from .docker_traffic import TrafficResource
from .image import ImageResource
from .instance import InstanceResource
from .servers import Servers, location_of
from .volume import VolumeResource

if TYPE_CHECKING:
    from ..sdk.inputs import Inputs
    from ..sdk.values import Properties

OBSERVE: Final = "flakeup:incus:observe"


class FlakeupPlugin(Plugin):
    """The plugin; its resources share listings, so a preview is one request per Incus project."""

    name: ClassVar[str] = "flakeup"
    version: ClassVar[str] = VERSION

    def __init__(self) -> None:
        """No server is connected to yet."""
        self._servers, self._daemons = Servers(), Daemons()
        self.resources = (
            ImageResource(self._servers),
            InstanceResource(self._servers),
            VolumeResource(self._servers),
            DockerImageResource(self._daemons),
            CandidateResource(self._daemons),
            TrafficResource(self._daemons),
        )

    async def close(self) -> None:
        """Close the connections that were kept."""
        await self._daemons.close()

    async def invoke(self, function: str, arguments: Inputs) -> Properties | None:
        """Call `flakeup:incus:observe`: returns the instances of a project by name."""
        if function != OBSERVE:
            return None
        location = location_of(arguments)
        instances = await self._servers.instances(location)
        return {
            "instances": {
                name: {
                    "address": one.address,
                    "hostKey": one.host_key,
                    "owner": one.owner,
                    "running": one.running,
                    **(
                        {"error": one.offline_message(location.remote, location.project)}
                        if one.offline
                        else {}
                    ),
                }
                for name, one in instances.items()
            }
        }
