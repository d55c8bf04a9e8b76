"""`Fleet`: the build of the release, its hosts in waves, and its services."""

from dataclasses import dataclass

import pulumi
from pulumi_command import local

from .hosts.copy_hooks import BuildAndCopy
from .hosts.disabled import DisabledHost
from .hosts.incus import IncusHost, IncusHostArgs, IncusImage, IncusImageArgs, image_name
from .hosts.nixos import NixosHost, NixosHostArgs
from .hosts.switch_hooks import SharedRelease
from .pipeline.config.incus import IncusSpec
from .pipeline.config.rollout import Rollout
from .pipeline.config.services import Services
from .pipeline.config.stack import HostSpec
from .pipeline.deploy import closure
from .pipeline.deploy.plan import HostPlan
from .pipeline.deploy.waves import waves_of
from .pipeline.evaluate.attribute import EvaluatedAttr, ImageBuild
from .pipeline.evaluate.service_plan import ServicePlan
from .pipeline.process.timings import Timings
from .pipeline.transport.ssh_files import SshFiles
from .stack.dependency import depends_even_if_failed
from .stack.release_record import ReleaseRecord
from .stack.rollout import RolloutTracker


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetArgs:
    """One release: what to deploy, and how."""

    plans: tuple[HostPlan, ...]
    ssh_files: SshFiles
    ssh_key: str | None
    owner: pulumi.Output[str]
    """The owner of what the stack has on daemons."""
    record: ReleaseRecord
    """The record of the release; it may refuse the release, so the build waits for it."""
    timings: Timings
    rollout: Rollout
    provider_host: str
    """The daemon that the released Docker provider is configured with."""
    services: Services = Services()
    service_plans: tuple[ServicePlan, ...] = ()
    disabled: tuple[HostSpec, ...] = ()

    @property
    def all_plans(self) -> tuple[HostPlan | ServicePlan, ...]:
        """Everything that needs a build."""
        return (*self.plans, *self.service_plans)


class Fleet(pulumi.ComponentResource):
    """All hosts of a stack on one release."""

    hosts: dict[str, NixosHost]

    def __init__(
        self, name: str, args: FleetArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("flakeup:index:Fleet", name, {}, opts)
        builds = tuple(part for plan in args.all_plans for part in plan.builds)
        builder = BuildAndCopy(builds, args.timings)
        waves = waves_of([plan.host.name for plan in args.plans], args.rollout)
        tracker = RolloutTracker(
            waves,
            args.rollout.max_parallel,
            disabled=[host.name for host in args.disabled],
            component=self,
        )
        release = SharedRelease(builder=builder, record=args.record, tracker=tracker)
        self._args, self._release = args, release
        self._built = self._build(builds)
        self._images: dict[str, IncusImage] = {}
        self.pushed: dict[str, pulumi.Output[str]] = {}
        """Images in the registry, by name: `<address>/<name>@sha256:…`."""
        self.hosts = {plan.host.name: self._host(plan) for plan in args.plans}
        self.services = self._services(args)
        for host in args.disabled:
            DisabledHost(host, pulumi.ResourceOptions(parent=self))
        self._switch(waves)
        self.register_outputs({})

    def _build(self, builds: tuple[EvaluatedAttr, ...]) -> pulumi.Input[pulumi.Resource]:
        """The build of everything, for `depends_on`."""
        build = local.Command(
            "build",
            local.CommandArgs(
                create=closure.shell_command(closure.build_argv(builds)),
                logging=local.Logging.NONE,
                add_previous_output_in_env=False,
            ),
            pulumi.ResourceOptions(
                parent=self,
                depends_on=[self._args.record.stash],
                hooks=self._release.builder.build_hooks(),
            ),
        )
        return depends_even_if_failed(build, "build", self)

    def _host(self, plan: HostPlan) -> NixosHost:
        host, opts = plan.host, pulumi.ResourceOptions(parent=self)
        args = NixosHostArgs(
            plan=plan,
            ssh_files=self._args.ssh_files,
            ssh_key=self._args.ssh_key,
            release=self._release,
            after=(self._built,),
        )
        if host.incus is None or plan.image is None:
            return NixosHost(host.name, args, opts)
        image = self._image(plan.image, host.incus, host.name)
        incus = IncusHostArgs(image=image, spec=host.incus, owner=self._args.owner)
        return IncusHost(host.name, args, incus, opts)

    def _image(self, build: ImageBuild, spec: IncusSpec, host: str) -> IncusImage:
        """The image of an instance; instances on the same server share it."""
        name = image_name(build.attr, spec)
        if name in self._images and self._images[name].build != build:
            name = f"{name}-{host}"  # the host is on another release
        if name not in self._images:
            args = IncusImageArgs(
                build=build,
                spec=spec,
                owner=self._args.owner,
                builder=self._release.builder,
                after=self._built,
            )
            self._images[name] = IncusImage(name, args, pulumi.ResourceOptions(parent=self))
        return self._images[name]

    def _services(self, args: FleetArgs) -> dict[str, pulumi.Output[str]]:
        """The containers of the services, by service."""
        if not args.service_plans:
            return {}
        # Takes half a second to load.
        from .services.services import DockerServices, DockerServicesArgs  # noqa: PLC0415

        services = DockerServicesArgs(
            config=args.services,
            plans=args.service_plans,
            owner=args.owner,
            builder=self._release.builder,
            built=self._built,
            provider_host=args.provider_host,
        )
        created = DockerServices(services, self)
        if args.services.registry:
            self.pushed = {name: image.pinned for name, image in created.images.items()}
        return {name: service.container for name, service in created.services.items()}

    def _switch(self, waves: tuple[tuple[str, ...], ...]) -> None:
        """Each wave waits for all of its copies, and for the switches of the previous wave."""
        earlier: list[pulumi.Input[pulumi.Resource]] = []
        for wave in waves:
            hosts = [self.hosts[name] for name in wave]
            after = [*earlier, *(host.copied for host in hosts)]
            earlier = [host.switch(after) for host in hosts]

    def require_success(self) -> None:
        """Fail the program for hosts whose failure the engine has not noticed.

        Raises:
            ActivationError: there are some.
        """
        self._release.tracker.require_success()

    @property
    def outputs(self) -> dict[str, pulumi.Output[dict[str, str]]]:
        """Per host: its toplevel, and the outcome of its last deployment."""
        return {
            name: pulumi.Output.all(host.toplevel, host.outcome).apply(
                lambda both: {"toplevel": both[0], "outcome": both[1]}
            )
            for name, host in self.hosts.items()
        }
