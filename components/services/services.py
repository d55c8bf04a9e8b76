"""`DockerServices`: the services of a stack, with the images and the network that they share."""

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
from .service import DockerService, DockerServiceArgs, owner_of_stack


class DockerServices:
    """All services of a stack, their images and their network."""

    def __init__(  # noqa: PLR0913 what the fleet shares
        self,
        services: Services,
        plans: tuple[ServicePlan, ...],
        builder: BuildAndCopy,
        built: pulumi.Input[pulumi.Resource],
        parent: pulumi.Resource,
        *,
        provider_host: str,
    ) -> None:
        """Register them; `provider_host` is what the released provider is configured with."""
        self._config, self._builder, self._built = services, builder, built
        self._parent, self.images = parent, dict[str, DockerImage]()
        options = pulumi.ResourceOptions(parent=parent)
        self._provider = docker.Provider(
            "docker", host=provider_host, ssh_opts=_ssh_options(services), opts=options
        )
        network = self._network()
        self.services = {
            plan.spec.name: DockerService(
                plan.spec.name,
                DockerServiceArgs(
                    spec=plan.spec,
                    host=services.host,
                    image=self._image(plan.image_name, plan.image),
                    edge=self._image(plan.edge_name, plan.edge) if plan.edge else None,
                    provider=self._provider,
                    network=network,
                    is_secret=services.is_secret,
                ),
                options,
            )
            for plan in plans
        }

    def _network(self) -> pulumi.Output[str]:
        """Create the network that all services share; returns its name."""
        name = "services"
        network = docker.Network(
            name,
            labels=[docker.NetworkLabelArgs(label=ownership.OWNER, value=owner_of_stack())],
            opts=pulumi.ResourceOptions(
                parent=self._parent,
                provider=self._provider,
                hooks=cleanup_hooks.network(name, self._config.host, owner_of_stack()),
            ),
        )
        made = depends_even_if_failed(network, name, self._parent)
        return output_or(network.name, "", made)

    def _image(self, name: str, build: EvaluatedAttr) -> DockerImage:
        """Return the image, which is the same for all services that run it."""
        if name not in self.images:
            args = DockerImageArgs(
                build=build,
                host=self._config.host,
                registry=self._config.registry,
                builder=self._builder,
                after=self._built,
            )
            options = pulumi.ResourceOptions(parent=self._parent)
            self.images[name] = DockerImage(name, args, options)
        return self.images[name]


def _ssh_options(services: Services) -> list[str] | None:
    """Return the ssh options of a host: the provider runs in the program's folder."""
    if services.host_key is None:
        return None
    return list(remote.options(Machine.parse(services.host), ssh_files_in(config.folder())))
