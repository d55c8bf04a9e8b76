"""`DockerService`: containers from images of the flake.

What is new is tried first, as a candidate beside what serves. Only one that became healthy changes
anything; a release that does not work leaves state and traffic as they were.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import pulumi
import pulumi_docker as docker

from ..pipeline.config.services import ServiceSpec, Strategy
from ..pipeline.targets.docker import ownership, route
from ..pipeline.targets.docker.route import Route
from ..stack.dependency import depends_even_if_failed, output_or
from . import cleanup_hooks
from .image import DockerImage, Own
from .secrets import Holding, held

T = TypeVar("T")

TRIAL: Final = "flakeup:docker:Trial"
TRAFFIC: Final = "flakeup:docker:Traffic"
HALF_MADE: Final = ["#initerror"]
"""What the engine calls a container that was made and could not be started.

The provider's update would do nothing for it, and call that a success.
"""
RETRIES: Final = 3
ALLOWANCE: Final = 300
"""Seconds beside `wait` and `grace`, for what the daemon has to do."""
LOG_OPTIONS: Final = {"max-size": "10m", "max-file": "3"}


@dataclass(frozen=True, slots=True, kw_only=True)
class DockerServiceArgs:
    """A service, its images, and where it runs."""

    spec: ServiceSpec
    host: str
    image: DockerImage
    edge: DockerImage | None
    provider: docker.Provider
    network: pulumi.Output[str]
    """The name of the network that the stack's services share."""
    is_secret: bool = False
    """Whether what the container is given is not to be in the state in clear."""


class DockerService(pulumi.ComponentResource):
    """A container that serves, and the way in which a new one takes its place."""

    container: pulumi.Output[str]

    def __init__(
        self, name: str, args: DockerServiceArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("flakeup:index:DockerService", name, {}, opts)
        self._args = args
        trial = self._trial(name)
        self.container = self._served(name, depends_even_if_failed(trial, f"{name}-trial", self))
        self.register_outputs({"container": self.container, "image": args.image.ref})

    def _served(self, name: str, tried: pulumi.Input[pulumi.Resource]) -> pulumi.Output[str]:
        """Make what serves, once the candidate was well; gives its name."""
        edge = self._args.edge
        container = self._container(name, tried)
        served = depends_even_if_failed(container, name, self)
        known = output_or(container.name, "", served)
        self._traffic(name, known, self._edge(name, edge, served) if edge else "")
        return known

    def _trial(self, name: str) -> pulumi.CustomResource:
        spec, args = self._args.spec, self._args
        props: dict[str, object] = {
            "host": args.host,
            "service": spec.name,
            "image": args.image.ref,
            "command": self._hidden(list(spec.command)),
            "environment": self._hidden(dict(spec.env)),
            "secrets": pulumi.Output.secret(dict(spec.secrets)) if spec.secrets else None,
            "network": args.network,
            "ports": [str(port) for port in sorted(spec.ports)],
            "user": spec.user or None,
            "readOnly": spec.read_only,
            "healthcheck": self._hidden(list(spec.healthcheck)),
            "interval": float(spec.health_interval.seconds),
            "wait": float(spec.wait.seconds),
        }
        options = pulumi.ResourceOptions(
            parent=self, depends_on=[args.image.loaded], custom_timeouts=_timeouts(spec)
        )
        return Own(TRIAL, f"{name}-trial", props, options)

    def _container(self, name: str, tried: pulumi.Input[pulumi.Resource]) -> docker.Container:
        spec, args = self._args.spec, self._args
        is_beside = spec.strategy is Strategy.BLUE_GREEN
        holdings = self._secrets(name, tried) if spec.secrets else ()
        return docker.Container(
            name,
            image=args.image.ref,
            command=self._hidden(list(spec.command)) if spec.command else None,
            envs=self._hidden([f"{key}={text}" for key, text in sorted(spec.env.items())]),
            user=spec.user or None,
            read_only=spec.read_only,
            healthcheck=self._hidden(_healthcheck(spec)) if spec.healthcheck else None,
            labels=_labels({ownership.SERVICE: spec.name, ownership.SPEC: _digest(spec)}),
            networks_advanced=[
                docker.ContainerNetworksAdvancedArgs(name=args.network, aliases=[spec.name])
            ],
            ports=None if is_beside else _ports(spec.ports),
            volumes=[
                docker.ContainerVolumeArgs(volume_name=volume, container_path=path)
                for volume, path in sorted(spec.volumes.items())
            ]
            + [volume for volume, _ in holdings],
            must_run=True,
            restart=route.RESTART,
            # Unset, it is killed at once.
            destroy_grace_seconds=spec.grace.seconds,
            log_driver="json-file",
            log_opts=LOG_OPTIONS,
            opts=pulumi.ResourceOptions(
                parent=self,
                provider=args.provider,
                # On the image itself too: the old one goes only after the old container.
                depends_on=[tried, args.image.loaded, *(made for _, made in holdings)],
                # The provider's own way is to delete first: a gap, and no way back.
                delete_before_replace=not is_beside,
                replace_on_changes=HALF_MADE,
                hooks=None
                if is_beside
                else cleanup_hooks.container(args.host, owner_of_stack(), spec),
            ),
        )

    def _secrets(self, name: str, tried: pulumi.Input[pulumi.Resource]) -> tuple[Holding]:
        spec, args = self._args.spec, self._args
        options = pulumi.ResourceOptions(
            parent=self, provider=args.provider, depends_on=[tried, args.image.loaded]
        )
        labels = _labels({ownership.SECRETS: spec.name})
        return (held(f"{name}-secrets", spec.secrets, args.image.ref, labels, options),)

    def _hidden(self, value: T) -> pulumi.Input[T]:
        return pulumi.Output.secret(value) if self._args.is_secret else value

    def _edge(
        self, name: str, image: DockerImage, served: pulumi.Input[pulumi.Resource]
    ) -> pulumi.Output[str]:
        spec, args = self._args.spec, self._args
        # What it begins with sends nobody anywhere; `traffic` says where to, as soon as it knows.
        # Nothing is in it that can change without the ports: the edge would be made anew for it.
        nobody = Route(ports=spec.ports)
        edge = docker.Container(
            f"{name}-edge",
            image=image.ref,
            command=list(route.COMMAND),
            labels=_labels({ownership.EDGE: spec.name}),
            uploads=[docker.ContainerUploadArgs(file=route.CONFIG, content=nobody.config)],
            ports=_ports({port: port for port in spec.ports}),
            networks_advanced=[docker.ContainerNetworksAdvancedArgs(name=args.network)],
            must_run=True,
            restart=route.RESTART,
            stop_signal=route.STOP_SIGNAL,
            destroy_grace_seconds=spec.grace.seconds,
            log_driver="json-file",
            log_opts=LOG_OPTIONS,
            opts=pulumi.ResourceOptions(
                parent=self,
                provider=args.provider,
                # On the container: an edge that is made anew serves nobody for a moment.
                depends_on=[image.loaded, served],
                replace_on_changes=HALF_MADE,
                hooks=cleanup_hooks.edge(f"{name}-edge", args.host, owner_of_stack(), spec),
            ),
        )
        return output_or(edge.id, "", depends_even_if_failed(edge, f"{name}-edge", self))

    def _traffic(self, name: str, container: pulumi.Output[str], edge: pulumi.Input[str]) -> None:
        spec = self._args.spec
        props = {
            "host": self._args.host,
            "service": spec.name,
            "edge": edge,
            "container": container,
            "ports": {str(outer): str(inner) for outer, inner in spec.ports.items()},
            "traffic": spec.traffic.value,
            "grace": float(spec.grace.seconds),
            "wait": float(spec.wait.seconds),
        }
        options = pulumi.ResourceOptions(parent=self, custom_timeouts=_timeouts(spec))
        Own(TRAFFIC, f"{name}-traffic", props, options)


def _labels(more: Mapping[str, str]) -> list[docker.ContainerLabelArgs]:
    labels = {ownership.OWNER: owner_of_stack(), **more}
    return [docker.ContainerLabelArgs(label=key, value=text) for key, text in labels.items()]


def _healthcheck(spec: ServiceSpec) -> docker.ContainerHealthcheckArgs:
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


def owner_of_stack() -> str:
    """As labels have it."""
    return f"{pulumi.get_project()}/{pulumi.get_stack()}"


def _timeouts(spec: ServiceSpec) -> pulumi.CustomTimeouts:
    seconds = f"{spec.wait.seconds + spec.grace.seconds + ALLOWANCE}s"
    return pulumi.CustomTimeouts(create=seconds, update=seconds)
