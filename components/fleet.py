"""`Fleet`: the build of the release, and its hosts, in waves."""

from dataclasses import dataclass

import pulumi
from pulumi_command import local

from components.activation import SharedRelease
from components.copying import Copying
from components.dependency import settled
from components.host import NixosHost, NixosHostArgs
from components.left_out import LeftOutHost
from components.pipeline import closure
from components.pipeline.plan import HostPlan
from components.pipeline.rollout import Rollout, waves_of
from components.pipeline.settings import HostSpec
from components.pipeline.stages import Stages
from components.pipeline.transport import Identity, Ssh
from components.release_record import ReleaseRecord
from components.turns import Turns


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetArgs:
    """What a fleet is made from."""

    plans: tuple[HostPlan, ...]
    identity: Identity
    ssh_key: str | None
    record: ReleaseRecord
    """The record of the release, which may refuse it: nothing is built before."""
    stages: Stages
    rollout: Rollout
    left_out: tuple[HostSpec, ...] = ()


class Fleet(pulumi.ComponentResource):
    """All hosts of a stack on one release."""

    hosts: dict[str, NixosHost]

    def __init__(
        self, name: str, args: FleetArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("flakeup:index:Fleet", name, {}, opts)
        systems = tuple(plan.system for plan in args.plans)
        copying = Copying(systems, args.stages)
        build = local.Command(
            "build",
            local.CommandArgs(
                create=closure.text(closure.build_argv(systems)),
                logging=local.Logging.NONE,
                add_previous_output_in_env=False,
            ),
            pulumi.ResourceOptions(
                parent=self, depends_on=[args.record.stash], hooks=copying.build_hooks()
            ),
        )
        waves = waves_of([plan.host.name for plan in args.plans], args.rollout)
        turns = Turns(
            waves,
            args.rollout.max_parallel,
            left_out=[host.name for host in args.left_out],
            component=self,
        )
        release = SharedRelease(copying=copying, record=args.record, turns=turns)
        self.hosts = {
            plan.host.name: NixosHost(
                plan.host.name,
                NixosHostArgs(
                    plan=plan,
                    ssh=Ssh(host=plan.host, identity=args.identity),
                    ssh_key=args.ssh_key,
                    release=release,
                    after=settled(build, "build", self),
                ),
                pulumi.ResourceOptions(parent=self),
            )
            for plan in args.plans
        }
        for host in args.left_out:
            LeftOutHost(host, pulumi.ResourceOptions(parent=self))
        self._switch(waves)
        self.register_outputs({})

    def _switch(self, waves: tuple[tuple[str, ...], ...]) -> None:
        """Each wave waits for all of its copies, and for the switches of the one before."""
        earlier: list[pulumi.Input[pulumi.Resource]] = []
        for wave in waves:
            hosts = [self.hosts[name] for name in wave]
            after = [*earlier, *(host.copied for host in hosts)]
            earlier = [host.switch(after) for host in hosts]

    @property
    def outputs(self) -> dict[str, pulumi.Output[dict[str, str]]]:
        """Per host: its toplevel, and how the last deployment of it ended."""
        return {
            name: pulumi.Output.all(host.toplevel, host.outcome).apply(
                lambda both: {"toplevel": both[0], "outcome": both[1]}
            )
            for name, host in self.hosts.items()
        }
