"""`DisabledHost`: a host with `enabled: false`, kept in the state as it was deployed last."""

import pulumi
from pulumi_command import local, remote

from ..pipeline.config.incus import IncusSpec, Way
from ..pipeline.config.stack import HostSpec
from ..pipeline.errors import ActivationError, message
from .incus import Instance, Volume, properties

NOTHING = ":"
"""A command that is never run: what the state has is kept."""


class DisabledHost(pulumi.ComponentResource):
    """A host that this run does not touch, whatever the release is.

    Its resources are registered, since those that are not would be deleted, and what was deployed
    with them forgotten; all of their inputs are ignored.
    """

    def __init__(self, host: HostSpec, opts: pulumi.ResourceOptions | None = None) -> None:
        kind = "NixosHost" if host.incus is None else "IncusHost"
        super().__init__(f"flakeup:index:{kind}", host.name, {}, opts)
        pulumi.log.info(f"{host.name}: skipped (enabled: false)", resource=self)
        if host.incus:
            self._keep_instance(host, host.incus)
        local.Command(
            f"{host.name}-copy",
            local.CommandArgs(create=NOTHING),
            self._untouched(host, f"{host.name}-copy"),
        )
        name = f"{host.name}-switch"
        if host.incus and host.incus.transport is Way.EXEC:
            local.Command(name, local.CommandArgs(create=NOTHING), self._untouched(host, name))
        else:
            connection = remote.ConnectionArgs(host=host.name)
            args = remote.CommandArgs(create=NOTHING, connection=connection)
            remote.Command(name, args, self._untouched(host, name))
        self.register_outputs({})

    def _keep_instance(self, host: HostSpec, spec: IncusSpec) -> None:
        for volume in spec.volumes:
            name = f"{host.name}-{volume.key}"
            Volume(name, spec, volume, self._untouched(host, name, protect=volume.protect))
        name = f"{host.name}-instance"
        options = self._untouched(host, name, protect=spec.protect)
        Instance(name, properties(spec, NOTHING), options)

    def _untouched(
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
