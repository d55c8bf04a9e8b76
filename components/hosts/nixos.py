"""`NixosHost`: the copy to one host, and its switch."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import pulumi
from pulumi_command import local

from ..pipeline.deploy import closure
from ..pipeline.deploy.plan import HostPlan
from ..pipeline.transport.ssh_files import SshFiles
from ..stack.dependency import depends_even_if_failed
from .commit import limit
from .connection import ReportedEndpoint, connect
from .switch_hooks import SharedRelease, SwitchHooks

COMMIT_TIMEOUT: Final = 60
"""Seconds from the deadline of the program to that of the engine, which ends `incus exec` only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NixosHostArgs:
    """One host: its plan, and what it shares with the others."""

    plan: HostPlan
    ssh_files: SshFiles
    ssh_key: str | None
    release: SharedRelease
    after: tuple[pulumi.Input[pulumi.Resource], ...]
    """What the copy waits for: the build."""
    reported: pulumi.Output[ReportedEndpoint | None] | None = None
    """Where an instance is; None for a host whose config says it."""
    uuid: pulumi.Output[str] | None = None
    """Which instance it is; None for a host that is none."""
    root: pulumi.Input[str] | None = None
    """Identifies an instance's root disk: a new one holds nothing of earlier deployments."""

    @property
    def triggers(self) -> list[pulumi.Input[str]] | None:
        """Values whose change makes the host's resources run again."""
        return None if self.root is None else [self.root]


class NixosHost(pulumi.ComponentResource):
    """A NixOS machine that runs its toplevel.

    The component has no inputs of its own: they would be saved before its children succeed, and
    so would change at every release. It begins with `copy`; `switch` follows with its wave.
    """

    kind = "NixosHost"
    toplevel: str
    outcome: pulumi.Output[str]
    copied: pulumi.Input[pulumi.Resource]
    """`copy`, for `depends_on`."""

    def __init__(
        self, name: str, args: NixosHostArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__(f"flakeup:index:{self.kind}", name, {}, opts)
        self._args = args = self._prepare(args)
        system = args.plan.system
        self.toplevel = system.out_path.path
        self._connection = connect(
            args.plan.host, args.ssh_files, args.ssh_key, args.reported, args.uuid
        )
        copy = local.Command(
            f"{name}-copy",
            local.CommandArgs(
                create=self._connection.text(lambda it: closure.copy_command(system, it)),
                environment=self._connection.environment,
                triggers=args.triggers,
                logging=local.Logging.NONE,
                add_previous_output_in_env=False,
            ),
            pulumi.ResourceOptions(
                parent=self,
                depends_on=list(args.after),
                hooks=args.release.builder.copy_hooks(
                    args.plan, self._connection, args.release.tracker, component=self
                ),
            ),
        )
        self.copied = depends_even_if_failed(copy, f"{name}-copy", self)

    def _prepare(self, args: NixosHostArgs) -> NixosHostArgs:
        """Create what the copy needs; nothing, for a machine that exists."""
        return args

    def switch(
        self, after: Sequence[pulumi.Input[pulumi.Resource]]
    ) -> pulumi.Input[pulumi.Resource]:
        """Switch once all of `after` have succeeded; returns `switch` for `depends_on`."""
        args, host = self._args, self._args.plan.host.name
        name = f"{host}-switch"
        hooks = SwitchHooks(
            args.plan, self._connection, args.release, component=self, root=args.root
        )
        seconds = f"{limit(args.plan.host.activation) + COMMIT_TIMEOUT:.0f}s"
        switch = self._connection.commit_resource(
            name,
            args.plan.system.out_path,
            args.triggers,
            pulumi.ResourceOptions(
                parent=self,
                depends_on=list(after),
                hooks=hooks.binding(),
                custom_timeouts=pulumi.CustomTimeouts(create=seconds, update=seconds),
            ),
        )
        # A failed host must not fault the outputs: the program has to finish the other hosts.
        self.outcome = hooks.outcome(switch)
        self.register_outputs({"toplevel": self.toplevel, "outcome": self.outcome})
        return depends_even_if_failed(switch, name, self, known=self.outcome)
