"""`SwarmService`: a service of the flake in Docker's swarm.

The swarm replaces tasks one by one and goes back by itself. The provider's state then has what was
wanted, as if it were so: whether it is, is seen by a resource of our own.
"""

import base64
from typing import Final

import pulumi
import pulumi_docker as docker

from ..pipeline.config.services import ServiceSpec
from ..pipeline.targets.docker import ownership, secret
from ..pipeline.targets.docker.swarm import CONVERGENCE, MONITOR, go_duration
from ..stack.dependency import depends_even_if_failed, output_or
from . import cleanup_hooks
from .image import Own
from .service import ALLOWANCE, LOG_OPTIONS, RETRIES, TASKS, DockerService, owner_of_stack

NEW_FIRST: Final = "start-first"
LABELS: Final = (ownership.OWNER, ownership.SERVICE)


class SwarmService(DockerService):
    """A service of a swarm; its candidate is tried on this node, in the service's own network."""

    def _served(self, name: str, tried: pulumi.Input[pulumi.Resource]) -> pulumi.Output[str]:
        service = self._service(name, tried)
        served = depends_even_if_failed(service, name, self)
        spec, args = self._args.spec, self._args
        props = {
            "host": args.host,
            "service": spec.name,
            "swarmService": output_or(service.id, "", served),
            "image": args.image.ref,
            "replicas": spec.replicas,
            "wait": float(_rollout(spec)),
        }
        options = pulumi.ResourceOptions(parent=self, custom_timeouts=_timeouts(spec))
        Own(TASKS, f"{name}-tasks", props, options)
        return output_or(service.name, "", served)

    def _service(self, name: str, tried: pulumi.Input[pulumi.Resource]) -> docker.Service:
        spec, args = self._args.spec, self._args
        secrets, made = self._swarm_secrets(name, tried)
        rollout = _rollout(spec)
        return docker.Service(
            name,
            labels=[docker.ServiceLabelArgs(label=k, value=v) for k, v in self._labels.items()],
            task_spec=docker.ServiceTaskSpecArgs(
                container_spec=self._container_spec(secrets),
                networks_advanceds=[
                    docker.ServiceTaskSpecNetworksAdvancedArgs(
                        id=args.network.id, aliases=[spec.name]
                    )
                ],
                log_driver=docker.ServiceTaskSpecLogDriverArgs(
                    name="json-file", options=LOG_OPTIONS
                ),
            ),
            mode=docker.ServiceModeArgs(
                replicated=docker.ServiceModeReplicatedArgs(replicas=spec.replicas)
            ),
            update_config=docker.ServiceUpdateConfigArgs(
                order=NEW_FIRST, failure_action="rollback", monitor=f"{MONITOR}s"
            ),
            rollback_config=docker.ServiceRollbackConfigArgs(
                order=NEW_FIRST, monitor=f"{MONITOR}s"
            ),
            # Twice: where it fails late, all that was replaced is replaced once more.
            converge_config=docker.ServiceConvergeConfigArgs(
                delay="1s", timeout=go_duration(2 * rollout)
            ),
            # Also without any: what is not given, the provider takes to be as it was.
            endpoint_spec=docker.ServiceEndpointSpecArgs(mode="vip", ports=_ports(spec)),
            opts=pulumi.ResourceOptions(
                parent=self,
                provider=args.provider,
                depends_on=[tried, args.image.loaded, *made],
                # Two of them cannot have one port.
                delete_before_replace=True,
                custom_timeouts=_timeouts(spec),
                hooks=cleanup_hooks.swarm_service(args.host, owner_of_stack(), spec),
            ),
        )

    @property
    def _labels(self) -> dict[str, str]:
        return dict(zip(LABELS, (owner_of_stack(), self._args.spec.name), strict=True))

    def _container_spec(
        self, secrets: list[docker.ServiceTaskSpecContainerSpecSecretArgs]
    ) -> docker.ServiceTaskSpecContainerSpecArgs:
        spec = self._args.spec
        return docker.ServiceTaskSpecContainerSpecArgs(
            image=self._args.image.ref,
            args=self._hidden(list(spec.command)) if spec.command else None,
            env=self._hidden(dict(spec.env)) if spec.env else None,
            user=spec.user or None,
            read_only=spec.read_only,
            healthcheck=self._hidden(_healthcheck(spec)),
            stop_grace_period=go_duration(spec.grace.seconds),
            mounts=[
                docker.ServiceTaskSpecContainerSpecMountArgs(
                    type="volume", source=volume, target=path
                )
                for volume, path in sorted(spec.volumes.items())
            ],
            secrets=secrets,
        )

    def _swarm_secrets(
        self, name: str, tried: pulumi.Input[pulumi.Resource]
    ) -> tuple[
        list[docker.ServiceTaskSpecContainerSpecSecretArgs], list[pulumi.Input[pulumi.Resource]]
    ]:
        """The swarm's own: none can be changed, so another text is one of another name."""
        files, waited = [], list[pulumi.Input[pulumi.Resource]]()
        for file, text in sorted(self._args.spec.secrets.items()):
            one = f"{name}-{file}"
            data = base64.b64encode(text.encode()).decode()
            made = docker.Secret(
                one,
                data=pulumi.Output.secret(data),
                labels=[docker.SecretLabelArgs(label=k, value=v) for k, v in self._labels.items()],
                opts=pulumi.ResourceOptions(
                    parent=self,
                    provider=self._args.provider,
                    depends_on=[tried],
                    additional_secret_outputs=["data"],
                    delete_before_replace=False,
                ),
            )
            there = depends_even_if_failed(made, one, self)
            files.append(
                docker.ServiceTaskSpecContainerSpecSecretArgs(
                    secret_id=output_or(made.id, "", there),
                    secret_name=output_or(made.name, "", there),
                    file_name=file,
                    file_mode=secret.MODE,
                )
            )
            waited.append(there)
        return files, waited


def _healthcheck(spec: ServiceSpec) -> docker.ServiceTaskSpecContainerSpecHealthcheckArgs:
    if not spec.healthcheck:  # whatever the image says
        return docker.ServiceTaskSpecContainerSpecHealthcheckArgs(tests=[])
    return docker.ServiceTaskSpecContainerSpecHealthcheckArgs(
        tests=["CMD", *spec.healthcheck],
        interval=go_duration(spec.health_interval.seconds),
        timeout="5s",
        retries=RETRIES,
        start_period="0s",
    )


def _ports(spec: ServiceSpec) -> list[docker.ServiceEndpointSpecPortArgs]:
    return [
        docker.ServiceEndpointSpecPortArgs(
            target_port=inner, published_port=outer, protocol="tcp", publish_mode="ingress"
        )
        for outer, inner in sorted(spec.ports.items())
    ]


def _rollout(spec: ServiceSpec) -> int:
    """Seconds in which all tasks are replaced, where all goes well."""
    each = spec.wait.seconds + MONITOR + spec.grace.seconds + CONVERGENCE
    return spec.replicas * each


def _timeouts(spec: ServiceSpec) -> pulumi.CustomTimeouts:
    seconds = f"{2 * _rollout(spec) + ALLOWANCE}s"
    return pulumi.CustomTimeouts(create=seconds, update=seconds)
