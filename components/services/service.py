"""`DockerService`: a container from an image of the flake, and how a new one replaces it.

A new release first runs as a candidate, next to the container that serves. Only a healthy one
changes anything: a release that does not work leaves state and traffic as they were.
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
from .image import DockerImage, ProviderResource
from .secrets import SecretMount, secrets_volume

T = TypeVar("T")

CANDIDATE: Final = "flakeup:docker:Candidate"
TRAFFIC: Final = "flakeup:docker:Traffic"
INIT_ERROR: Final = ["#initerror"]
"""The engine's name for a container that was created and could not be started.

The provider's update would do nothing for it, and call that a success: it is replaced.
"""
RETRIES: Final = 3
ALLOWANCE: Final = 300
"""Seconds for the daemon's own work, in addition to `wait` and `grace`."""
LOG_OPTIONS: Final = {"max-size": "10m", "max-file": "3"}


@dataclass(frozen=True, slots=True, kw_only=True)
class DockerServiceArgs:
    """A service, its images, and where it runs."""

    spec: ServiceSpec
    host: str
    owner: pulumi.Output[str]
    """The stack's: what is found in the daemon by it is this stack's own."""
    image: DockerImage
    edge: DockerImage | None
    provider: docker.Provider
    network: pulumi.Output[str]
    """The name of the network that the stack's services share."""
    is_secret: bool = False
    """Whether the container's inputs are secrets in the state."""


class DockerService(pulumi.ComponentResource):
    """A candidate, the container that serves, its edge, and the traffic between them."""

    container: pulumi.Output[str]

    def __init__(
        self, name: str, args: DockerServiceArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("flakeup:index:DockerService", name, {}, opts)
        self._args = args
        self.container = self._replace(name, self._candidate(f"{name}-candidate"))
        self.register_outputs({"container": self.container, "image": args.image.ref})

    def _replace(self, name: str, candidate: pulumi.Input[pulumi.Resource]) -> pulumi.Output[str]:
        """Create the container once the candidate was healthy; returns its name."""
        edge = self._args.edge
        container = self._container(name, candidate)
        created = depends_even_if_failed(container, name, self)
        container_name = output_or(container.name, "", created)
        self._traffic(name, container_name, self._edge(name, edge, created) if edge else "")
        return container_name

    def _candidate(self, name: str) -> pulumi.Input[pulumi.Resource]:
        spec, args = self._args.spec, self._args
        props: dict[str, object] = {
            "host": args.host,
            "owner": args.owner,
            "service": spec.name,
            "image": args.image.ref,
            "command": self._maybe_secret(list(spec.command)),
            "environment": self._maybe_secret(dict(spec.env)),
            "secrets": pulumi.Output.secret(dict(spec.secrets)) if spec.secrets else None,
            "network": args.network,
            "ports": [str(port) for port in sorted(spec.ports)],
            "user": spec.user or None,
            "readOnly": spec.read_only,
            "healthcheck": self._maybe_secret(list(spec.healthcheck)),
            "interval": float(spec.health_interval.seconds),
            "wait": float(spec.wait.seconds),
        }
        options = pulumi.ResourceOptions(
            parent=self, depends_on=[args.image.loaded], custom_timeouts=_timeouts(spec)
        )
        candidate = ProviderResource(CANDIDATE, name, props, options)
        return depends_even_if_failed(candidate, name, self)

    def _container(self, name: str, candidate: pulumi.Input[pulumi.Resource]) -> docker.Container:
        spec, args = self._args.spec, self._args
        mounts = (self._secrets(name, candidate),) if spec.secrets else ()
        volumes = [
            docker.ContainerVolumeArgs(volume_name=volume, container_path=path)
            for volume, path in sorted(spec.volumes.items())
        ]
        return docker.Container(
            name,
            image=args.image.ref,
            command=self._maybe_secret(list(spec.command)) if spec.command else None,
            envs=self._maybe_secret([f"{key}={text}" for key, text in sorted(spec.env.items())]),
            user=spec.user or None,
            read_only=spec.read_only,
            healthcheck=self._maybe_secret(_healthcheck(spec)) if spec.healthcheck else None,
            labels=self._labels({ownership.SERVICE: spec.name, ownership.SPEC: _digest(spec)}),
            networks_advanced=[
                docker.ContainerNetworksAdvancedArgs(name=args.network, aliases=[spec.name])
            ],
            ports=None if spec.strategy is Strategy.BLUE_GREEN else _ports(spec.ports),
            volumes=[*volumes, *(mount.volume for mount in mounts)],
            must_run=True,
            restart=route.RESTART,
            # Without it, the container is killed at once.
            destroy_grace_seconds=spec.grace.seconds,
            log_driver="json-file",
            log_opts=LOG_OPTIONS,
            opts=self._container_options(
                [candidate, *(mount.secrets_container for mount in mounts)]
            ),
        )

    def _container_options(
        self, after: list[pulumi.Input[pulumi.Resource]]
    ) -> pulumi.ResourceOptions:
        spec, args = self._args.spec, self._args
        runs_alone = spec.strategy is not Strategy.BLUE_GREEN
        return pulumi.ResourceOptions(
            parent=self,
            provider=args.provider,
            # On the image too: the previous image is removed after the previous container.
            depends_on=[*after, args.image.loaded],
            # The provider's default is to delete first: an outage, and no way back.
            delete_before_replace=runs_alone,
            replace_on_changes=INIT_ERROR,
            hooks=cleanup_hooks.container(args.host, args.owner, spec) if runs_alone else None,
        )

    def _secrets(self, name: str, candidate: pulumi.Input[pulumi.Resource]) -> SecretMount:
        spec, args = self._args.spec, self._args
        options = pulumi.ResourceOptions(
            parent=self, provider=args.provider, depends_on=[candidate, args.image.loaded]
        )
        labels = self._labels({ownership.SECRETS: spec.name})
        return secrets_volume(f"{name}-secrets", spec.secrets, args.image.ref, labels, options)

    def _labels(self, more: Mapping[str, str]) -> list[docker.ContainerLabelArgs]:
        labels: dict[str, pulumi.Input[str]] = {ownership.OWNER: self._args.owner, **more}
        return [docker.ContainerLabelArgs(label=key, value=text) for key, text in labels.items()]

    def _maybe_secret(self, value: T) -> pulumi.Input[T]:
        return pulumi.Output.secret(value) if self._args.is_secret else value

    def _edge(
        self, name: str, image: DockerImage, container: pulumi.Input[pulumi.Resource]
    ) -> pulumi.Output[str]:
        spec, args = self._args.spec, self._args
        # Its first configuration forwards nothing; `Traffic` sends it the route. It depends on
        # nothing but the ports: any other change in it would recreate the edge.
        initial = Route(ports=spec.ports)
        edge = docker.Container(
            f"{name}-edge",
            image=image.ref,
            command=list(route.COMMAND),
            labels=self._labels({ownership.EDGE: spec.name}),
            uploads=[docker.ContainerUploadArgs(file=route.CONFIG, content=initial.config)],
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
                # On the container: a recreated edge forwards nothing for a moment.
                depends_on=[image.loaded, container],
                replace_on_changes=INIT_ERROR,
                hooks=cleanup_hooks.edge(f"{name}-edge", args.host, args.owner, spec),
            ),
        )
        return output_or(edge.id, "", depends_even_if_failed(edge, f"{name}-edge", self))

    def _traffic(self, name: str, container: pulumi.Output[str], edge: pulumi.Input[str]) -> None:
        spec = self._args.spec
        props = {
            "host": self._args.host,
            "owner": self._args.owner,
            "service": spec.name,
            "edge": edge,
            "container": container,
            "ports": {str(outer): str(inner) for outer, inner in spec.ports.items()},
            "traffic": spec.traffic.value,
            "grace": float(spec.grace.seconds),
            "wait": float(spec.wait.seconds),
        }
        options = pulumi.ResourceOptions(parent=self, custom_timeouts=_timeouts(spec))
        ProviderResource(TRAFFIC, f"{name}-traffic", props, options)


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
    """Return a digest of the health check: the provider ignores a change of it."""
    inputs: list[Any] = [list(spec.healthcheck), spec.health_interval.text]
    return hashlib.sha256(json.dumps(inputs).encode()).hexdigest()[:16]


def _timeouts(spec: ServiceSpec) -> pulumi.CustomTimeouts:
    seconds = f"{spec.wait.seconds + spec.grace.seconds + ALLOWANCE}s"
    return pulumi.CustomTimeouts(create=seconds, update=seconds)
