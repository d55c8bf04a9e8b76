"""`DockerImage` and `DockerService`: containers from images of the flake.

What is new is tried first, as a candidate beside what serves. Only one that became healthy changes
anything; a release that does not work leaves state and traffic as they were.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import pulumi
import pulumi_docker as docker

from components.copying import Copying
from components.dependency import settled
from components.pipeline.docker.route import COMMAND, CONFIG, Route
from components.pipeline.docker.spec import Services, ServiceSpec, Strategy
from components.pipeline.evaluate import System
from components.pipeline.services import ServicePlan

IMAGE: Final = "flakeup:docker:Image"
TRIAL: Final = "flakeup:docker:Trial"
TRAFFIC: Final = "flakeup:docker:Traffic"
OWNED: Final = "flakeup.owner"
"""Label of a container and a network: the stack that it is of."""
SPEC: Final = "flakeup.spec"
"""Label of a container: a digest of what the provider would not take for a change."""
RETRIES: Final = 3
WAIT_GRACE: Final = 300
"""Seconds beside `wait`, for what the daemon has to do before."""
LOG_OPTIONS: Final = {"max-size": "10m", "max-file": "3"}


class _Own(pulumi.CustomResource):
    """A resource of the project's own provider whose outputs nobody reads."""

    def __init__(
        self, token: str, name: str, props: Mapping[str, object], opts: pulumi.ResourceOptions
    ) -> None:
        super().__init__(token, name, dict(props), opts)


@dataclass(frozen=True, slots=True, kw_only=True)
class DockerImageArgs:
    """An image that nix builds, and the daemon that is to have it."""

    build: System
    host: str
    copying: Copying
    after: pulumi.Input[pulumi.Resource]
    """What has to be done before it is loaded: the build."""


class DockerImage(pulumi.ComponentResource):
    """An image of the release in a daemon, under a name that the preview knows."""

    ref: str
    loaded: pulumi.Input[pulumi.Resource]
    """For those who run it."""

    def __init__(
        self, name: str, args: DockerImageArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("flakeup:index:DockerImage", name, {}, opts)
        self.ref = reference(args.build)
        image = _Own(
            IMAGE,
            name,
            {"host": args.host, "ref": self.ref, "built": args.build.out.path, "imageId": None},
            pulumi.ResourceOptions(
                parent=self, depends_on=[args.after], hooks=args.copying.build_hooks(name)
            ),
        )
        self.loaded = settled(image, name, self)
        self.register_outputs({"ref": self.ref})


def reference(build: System) -> str:
    """The name of an image: its tag is the hash of the store path, and is never moved."""
    return f"{build.attr.lower()}:{build.out.digest}"


@dataclass(frozen=True, slots=True, kw_only=True)
class DockerServiceArgs:
    """A service, its images, and where it runs."""

    spec: ServiceSpec
    host: str
    image: DockerImage
    edge: DockerImage | None
    provider: docker.Provider
    network: docker.Network


class DockerService(pulumi.ComponentResource):
    """A container that serves, and the way in which a new one takes its place."""

    container: pulumi.Output[str]

    def __init__(
        self, name: str, args: DockerServiceArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("flakeup:index:DockerService", name, {}, opts)
        self._args = args
        trial = self._trial(name)
        container = self._container(name, settled(trial, f"{name}-trial", self))
        edge = self._edge(name) if args.edge else None
        self._traffic(name, container, edge)
        self.container = container.name
        self.register_outputs({"container": self.container, "image": args.image.ref})

    def _trial(self, name: str) -> pulumi.CustomResource:
        spec, args = self._args.spec, self._args
        props = {
            "host": args.host,
            "service": spec.name,
            "image": args.image.ref,
            "command": list(spec.command),
            "environment": dict(spec.env),
            "network": args.network.name,
            "user": spec.user or None,
            "readOnly": spec.read_only,
            "healthcheck": list(spec.healthcheck),
            "interval": float(spec.health_interval.seconds),
            "wait": float(spec.wait.seconds),
        }
        options = pulumi.ResourceOptions(
            parent=self, depends_on=[args.image.loaded], custom_timeouts=_timeouts(spec)
        )
        return _Own(TRIAL, f"{name}-trial", props, options)

    def _container(self, name: str, tried: pulumi.Input[pulumi.Resource]) -> docker.Container:
        spec, args = self._args.spec, self._args
        is_beside = spec.strategy is Strategy.BLUE_GREEN
        return docker.Container(
            name,
            image=args.image.ref,
            command=list(spec.command) or None,
            envs=[f"{key}={text}" for key, text in sorted(spec.env.items())],
            user=spec.user or None,
            read_only=spec.read_only,
            healthcheck=_healthcheck(spec),
            labels=[
                docker.ContainerLabelArgs(label=OWNED, value=_owner()),
                docker.ContainerLabelArgs(label=SPEC, value=_digest(spec)),
            ],
            networks_advanced=[
                docker.ContainerNetworksAdvancedArgs(name=args.network.name, aliases=[spec.name])
            ],
            ports=None if is_beside else _ports(spec.ports),
            volumes=[
                docker.ContainerVolumeArgs(volume_name=volume, container_path=path)
                for volume, path in sorted(spec.volumes.items())
            ],
            must_run=True,
            restart="unless-stopped",
            # Unset, it is killed at once.
            destroy_grace_seconds=spec.grace.seconds,
            log_driver="json-file",
            log_opts=LOG_OPTIONS,
            opts=pulumi.ResourceOptions(
                parent=self,
                provider=args.provider,
                # On the image itself too: the old one goes only after the old container.
                depends_on=[tried, args.image.loaded],
                # The provider's own way is to delete first: a gap, and no way back.
                delete_before_replace=not is_beside,
            ),
        )

    def _edge(self, name: str) -> docker.Container:
        spec, args = self._args.spec, self._args
        if args.edge is None:
            msg = "a service without an edge has none"
            raise ValueError(msg)
        # What it begins with sends nobody anywhere; `traffic` says where to, as soon as it knows.
        nobody = Route(ports=spec.ports, traffic=spec.traffic, grace=spec.grace.seconds)
        return docker.Container(
            f"{name}-edge",
            image=args.edge.ref,
            command=list(COMMAND),
            labels=[docker.ContainerLabelArgs(label=OWNED, value=_owner())],
            uploads=[docker.ContainerUploadArgs(file=CONFIG, content=nobody.config)],
            ports=_ports({port: port for port in spec.ports}),
            networks_advanced=[docker.ContainerNetworksAdvancedArgs(name=args.network.name)],
            must_run=True,
            restart="unless-stopped",
            destroy_grace_seconds=spec.grace.seconds,
            log_driver="json-file",
            log_opts=LOG_OPTIONS,
            opts=pulumi.ResourceOptions(
                parent=self, provider=args.provider, depends_on=[args.edge.loaded]
            ),
        )

    def _traffic(
        self, name: str, container: docker.Container, edge: docker.Container | None
    ) -> None:
        spec = self._args.spec
        props = {
            "host": self._args.host,
            "service": spec.name,
            "edge": edge.id if edge else "",
            "container": container.name,
            "ports": {str(outer): str(inner) for outer, inner in spec.ports.items()},
            "traffic": spec.traffic.value,
            "grace": float(spec.grace.seconds),
            "wait": float(spec.wait.seconds),
        }
        options = pulumi.ResourceOptions(parent=self, custom_timeouts=_timeouts(spec))
        _Own(TRAFFIC, f"{name}-traffic", props, options)


class DockerServices:
    """All services of a stack: their images, a network, and each of them."""

    def __init__(
        self,
        services: Services,
        plans: tuple[ServicePlan, ...],
        copying: Copying,
        built: pulumi.Input[pulumi.Resource],
        parent: pulumi.Resource,
    ) -> None:
        self._host, self._copying, self._built = services.host, copying, built
        self._parent, self._images = parent, dict[str, DockerImage]()
        options = pulumi.ResourceOptions(parent=parent)
        provider = docker.Provider("docker", host=services.host, opts=options)
        owned = pulumi.ResourceOptions(parent=parent, provider=provider)
        labels = [docker.NetworkLabelArgs(label=OWNED, value=_owner())]
        network = docker.Network("services", labels=labels, opts=owned)
        self.services = {
            plan.spec.name: DockerService(
                plan.spec.name,
                DockerServiceArgs(
                    spec=plan.spec,
                    host=services.host,
                    image=self._image(plan.image),
                    edge=self._image(plan.edge) if plan.edge else None,
                    provider=provider,
                    network=network,
                ),
                options,
            )
            for plan in plans
        }

    def _image(self, build: System) -> DockerImage:
        """One for all services that run the same one."""
        if build.attr not in self._images:
            args = DockerImageArgs(
                build=build, host=self._host, copying=self._copying, after=self._built
            )
            options = pulumi.ResourceOptions(parent=self._parent)
            self._images[build.attr] = DockerImage(build.attr, args, options)
        return self._images[build.attr]


def _healthcheck(spec: ServiceSpec) -> docker.ContainerHealthcheckArgs | None:
    if not spec.healthcheck:
        return None
    return docker.ContainerHealthcheckArgs(
        tests=["CMD", *spec.healthcheck],
        interval=spec.health_interval.text,
        timeout="5s",
        retries=RETRIES,
        start_period="0s",
    )


def _ports(ports: Mapping[int, int]) -> list[docker.ContainerPortArgs]:
    return [
        docker.ContainerPortArgs(internal=inner, external=outer)
        for outer, inner in sorted(ports.items())
    ]


def _digest(spec: ServiceSpec) -> str:
    """A digest of the health check: the provider takes another one for no change at all."""
    said: list[Any] = [list(spec.healthcheck), spec.health_interval.text]
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()[:16]


def _owner() -> str:
    return f"{pulumi.get_project()}/{pulumi.get_stack()}"


def _timeouts(spec: ServiceSpec) -> pulumi.CustomTimeouts:
    seconds = f"{spec.wait.seconds + WAIT_GRACE}s"
    return pulumi.CustomTimeouts(create=seconds, update=seconds)
