"""`DisabledHost`: a host with `enabled: false`, kept in the state as last deployed."""

from typing import Final

import pulumi
from pulumi_command import local, remote

from ..pipeline.config.incus import IncusSpec
from ..pipeline.config.stack import HostSpec
from ..pipeline.errors import ActivationError, message
from .connection import commits_locally
from .incus_resources import Instance, Volume, instance_inputs

NO_COMMAND: Final = ":"
"""A placeholder that never runs: the state keeps its own inputs."""


class DisabledHost(pulumi.ComponentResource):
    """A host that this run does not change, whatever the release.

    Its resources are registered, since the engine deletes those that are not, and with them the
    record of what was deployed; all of their inputs are ignored.
    """

    def __init__(self, host: HostSpec, opts: pulumi.ResourceOptions | None = None) -> None:
        kind = "NixosHost" if host.incus is None else "IncusHost"
        super().__init__(f"flakeup:index:{kind}", host.name, {}, opts)
        pulumi.log.info(f"{host.name}: skipped (enabled: false)", resource=self)
        if host.incus:
            self._keep_instance(host, host.incus)
        local.Command(
            f"{host.name}-copy",
            local.CommandArgs(create=NO_COMMAND),
            self._unchanged(host, f"{host.name}-copy"),
        )
        name = f"{host.name}-switch"
        if commits_locally(host):
            local.Command(name, local.CommandArgs(create=NO_COMMAND), self._unchanged(host, name))
        else:
            connection = remote.ConnectionArgs(host=host.name)
            args = remote.CommandArgs(create=NO_COMMAND, connection=connection)
            remote.Command(name, args, self._unchanged(host, name))
        self.register_outputs({})

    def _keep_instance(self, host: HostSpec, spec: IncusSpec) -> None:
        for volume in spec.volumes:
            name = f"{host.name}-{volume.key}"
            Volume(name, spec, volume, self._unchanged(host, name, protect=volume.protect))
        name = f"{host.name}-instance"
        options = self._unchanged(host, name, protect=spec.protect)
        Instance(name, instance_inputs(spec, NO_COMMAND), options)

    def _unchanged(
        self, host: HostSpec, name: str, *, protect: bool = False
    ) -> pulumi.ResourceOptions:
        async def refuse(_: pulumi.ResourceHookArgs) -> None:
            remedy = "remove it from hosts, or enable it"
            detail = "it is disabled and was never deployed: there is nothing to keep"
            raise ActivationError(message("cannot skip", host.name, detail, remedy))

        hook = pulumi.ResourceHook(name, refuse, pulumi.ResourceHookOptions(on_dry_run=True))
        return pulumi.ResourceOptions(
            parent=self,
            ignore_changes=["*"],
            protect=protect,
            hooks=pulumi.ResourceHookBinding(before_create=[hook]),
        )
