"""What previews ask: Incus where its instances are, then each host what it runs."""

import pulumi

from ..pipeline.config.stack import Observe, Settings
from ..pipeline.deploy import observe
from ..pipeline.deploy.observe import Observed
from ..pipeline.transport.ssh import SshFiles
from . import incus


async def observed(settings: Settings, identity: SshFiles) -> Observed:
    """Ask each host what it runs; an answer that cannot be had is an answer too.

    Only previews ask: an update finds out by doing, on the same connections.
    """
    if settings.observe is Observe.NEVER or not pulumi.runtime.is_dry_run():
        return {}
    ways, troubles = await incus.ways(settings.hosts, identity)
    return {**await observe.observe(ways), **troubles}
