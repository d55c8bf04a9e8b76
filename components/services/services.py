"""`DockerServices`: the services of a stack, with the images and the network that they share."""

from dataclasses import dataclass

import pulumi
import pulumi_docker as docker

from ..hosts.copy_hooks import BuildAndCopy
from ..pipeline.config.docker import Machine
from ..pipeline.config.services import Services
from ..pipeline.evaluate.attribute import EvaluatedAttr
from ..pipeline.evaluate.service_plan import ServicePlan
from ..pipeline.targets.docker import ownership, remote
from ..pipeline.transport.ssh_files import ssh_files_in
from ..stack import config
from ..stack.dependency import depends_even_if_failed, output_or
from . import cleanup_hooks
from .image import DockerImage, DockerImageArgs
from .service import DockerService, DockerServiceArgs


@dataclass(frozen=True, slots=True, kw_only=True)
class DockerServicesArgs:
    """The services of a stack, and what they share with its hosts."""

    config: Services
    plans: tuple[ServicePlan, ...]
    owner: pulumi.Output[str]
    provider_host: str
    """What the released provider is configured with."""
    builder: BuildAndCopy
    built: pulumi.Input[pulumi.Resource]


class DockerServices:
    """All services of a stack, their images and their network."""

    def __init__(self, args: DockerServicesArgs, parent: pulumi.Resource) -> None:
        services = args.config
        self._args, self._parent = args, parent
        self.images = dict[str, DockerImage]()
        options = pulumi.ResourceOptions(parent=parent)
        self._provider = docker.Provider(
            "docker", host=args.provider_host, ssh_opts=_ssh_options(services), opts=options
        )
        network = self._network()
        self.services = {
            plan.spec.name: DockerService(
                plan.spec.name,
                DockerServiceArgs(
                    spec=plan.spec,
                    host=services.host,
                    owner=args.owner,
                    image=self._image(plan.image_name, plan.image),
                    edge=self._image(plan.edge_name, plan.edge) if plan.edge else None,
                    provider=self._provider,
                    network=network,
                    is_secret=services.is_secret,
                ),
                options,
            )
            for plan in args.plans
        }

    def _network(self) -> pulumi.Output[str]:
        """Create the network that all services share; returns its name."""
        name = "services"
        network = docker.Network(
            name,
            labels=[docker.NetworkLabelArgs(label=ownership.OWNER, value=self._args.owner)],
            opts=pulumi.ResourceOptions(
                parent=self._parent,
                provider=self._provider,
                hooks=cleanup_hooks.network(
                    name,
                    self._args.config.host,
                    self._args.owner,
                    [plan.spec.name for plan in self._args.plans],
                ),
            ),
        )
        made = depends_even_if_failed(network, name, self._parent)
        return output_or(network.name, "", made)

    def _image(self, name: str, build: EvaluatedAttr) -> DockerImage:
        """Return the image, which is the same for all services that run it."""
        if name not in self.images:
            args = DockerImageArgs(
                build=build,
                host=self._args.config.host,
                registry=self._args.config.registry,
                builder=self._args.builder,
                after=self._args.built,
            )
            options = pulumi.ResourceOptions(parent=self._parent)
            self.images[name] = DockerImage(name, args, options)
        return self.images[name]


def _ssh_options(services: Services) -> list[str] | None:
    """Return the ssh options of a host: the provider runs in the program's folder."""
    if services.host_key is None:
        return None
    return list(remote.options(Machine.parse(services.host), ssh_files_in(config.folder())))
