"""`NixosHost`: copy -> switch of one host."""

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
from pulumi_command import local, remote

from ..pipeline.activation import protocol
from ..pipeline.deploy import closure
from ..pipeline.deploy.plan import HostPlan
from ..stack.dependency import depends_even_if_failed
from .connection import Reach
from .incus_connection import Inside
from .switch_hooks import Activation, SharedRelease

DIAL_ERRORS = 1
"""Dials of `switch` that may fail in one try: its error hook tries again, and knows why."""
DIAL_TIMEOUT = 5
COMMIT_TIMEOUT = "10m"
FAILED = "failed"
"""The outcome of a host whose deployment has failed; the engine's error says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NixosHostArgs:
    """What a host needs of the rest of the program."""

    plan: HostPlan
    reach: Reach | Inside
    ssh_key: str | None
    release: SharedRelease
    after: tuple[pulumi.Input[pulumi.Resource], ...]
    """What has to be done before the first copy: the build."""
    root: pulumi.Input[str] | None = None
    """Of a machine that the program makes: another one, and nothing of before is there any more."""

    @property
    def triggers(self) -> list[pulumi.Input[str]] | None:
        """What makes its resources begin anew."""
        return None if self.root is None else [self.root]


class NixosHost(pulumi.ComponentResource):
    """A NixOS machine on its toplevel.

    The component has no inputs of its own: they would be saved before its children succeed,
    and so change at every release. Made with `copy` alone; `switch` comes when its wave has come.
    """

    kind = "NixosHost"
    toplevel: str
    outcome: pulumi.Output[str]
    copied: pulumi.Input[pulumi.Resource]
    """`copy`, for those who wait for it."""

    def __init__(
        self, name: str, args: NixosHostArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__(f"flakeup:index:{self.kind}", name, {}, opts)
        args = self._prepare(args)
        system = args.plan.system
        self._args = args
        self.toplevel = system.out_path.path
        copy = local.Command(
            f"{name}-copy",
            local.CommandArgs(
                create=args.reach.text(lambda ssh: closure.copy_text(system, ssh)),
                environment=_environment(args.reach),
                triggers=args.triggers,
                logging=local.Logging.NONE,
                add_previous_output_in_env=False,
            ),
            pulumi.ResourceOptions(
                parent=self,
                depends_on=list(args.after),
                hooks=args.release.copying.copy_hooks(
                    args.plan, args.reach, args.release.tracker, component=self
                ),
            ),
        )
        self.copied = depends_even_if_failed(copy, f"{name}-copy", self)

    def _prepare(self, args: NixosHostArgs) -> NixosHostArgs:
        """Make what has to be there before the first copy: nothing, for a machine that exists."""
        return args

    def switch(
        self, after: Sequence[pulumi.Input[pulumi.Resource]]
    ) -> pulumi.Input[pulumi.Resource]:
        """Switch once all of `after` are done, none of them failed; give `switch` to wait for."""
        args = self._args
        name = args.plan.host.name
        activation = Activation(args.plan, args.reach, args.release, component=self, root=args.root)
        switch = self._commit(
            f"{name}-switch",
            pulumi.ResourceOptions(
                parent=self,
                depends_on=list(after),
                hooks=activation.hooks(),
                custom_timeouts=pulumi.CustomTimeouts(create=COMMIT_TIMEOUT, update=COMMIT_TIMEOUT),
            ),
        )
        # A failed host must not fault the outputs: the program has others to bring to their end.
        self.outcome = switch.stdout.apply(lambda text: protocol.outcome(name, text)).recover(
            lambda _: FAILED
        )
        activation.watch(switch)
        self.register_outputs({"toplevel": self.toplevel, "outcome": self.outcome})
        return depends_even_if_failed(switch, f"{name}-switch", self)

    def _commit(self, name: str, opts: pulumi.ResourceOptions) -> remote.Command | local.Command:
        """The resource `switch`: a new connection, which is the confirmation."""
        args, out = self._args, self._args.plan.system.out_path
        if isinstance(args.reach, Inside):
            return local.Command(
                name,
                local.CommandArgs(
                    create=closure.text(args.reach.exec.argv(*protocol.commit_argv(out))),
                    triggers=args.triggers,
                    logging=local.Logging.NONE,
                    add_previous_output_in_env=False,
                ),
                opts,
            )
        return remote.Command(
            name,
            remote.CommandArgs(
                create=protocol.commit_command(out, root=args.plan.host.is_root),
                connection=_connection(args, args.reach),
                triggers=args.triggers,
                logging=remote.Logging.NONE,
                add_previous_output_in_env=False,
            ),
            opts,
        )


def _environment(reach: Reach | Inside) -> dict[str, str] | None:
    return None if isinstance(reach, Inside) else {"NIX_SSHOPTS": reach.nix_sshopts}


def _connection(args: NixosHostArgs, reach: Reach) -> remote.ConnectionArgs:
    host = args.plan.host
    return remote.ConnectionArgs(
        host=reach.address,
        port=float(host.port),
        user=host.user.text,
        host_key=reach.host_key,
        private_key=None if args.ssh_key is None else pulumi.Output.secret(args.ssh_key),
        dial_error_limit=DIAL_ERRORS,
        per_dial_timeout=DIAL_TIMEOUT,
    )
