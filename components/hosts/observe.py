"""What a preview asks: Incus for its instances, then each host for what it runs."""

import pulumi

from ..pipeline.config.stack import Observe, Settings
from ..pipeline.deploy import observe
from ..pipeline.deploy.observe import Observed
from ..pipeline.transport.ssh import SshFiles
from . import incus


async def observe_hosts(settings: Settings, files: SshFiles) -> Observed:
    """Ask each host what it runs; a host that cannot be asked gives its error.

    Only previews ask: an update finds out as it deploys.
    """
    if settings.observe is Observe.NEVER or not pulumi.runtime.is_dry_run():
        return {}
    transports, errors = await incus.transports(settings.hosts, files)
    return {**await observe.observe(transports), **errors}
