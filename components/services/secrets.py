"""The volume with a service's secrets, and the container that it belongs to."""

from collections.abc import Mapping
from dataclasses import dataclass

import pulumi
import pulumi_docker as docker

from ..pipeline.config.service_secrets import FOLDER
from ..pipeline.targets.docker import secrets_volume as volume
from ..stack.dependency import depends_even_if_failed, output_or


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretMount:
    """What mounts a service's secrets in its container."""

    volume: docker.ContainerVolumeArgs
    secrets_container: pulumi.Input[pulumi.Resource]
    """For `depends_on`."""


def secrets_volume(
    name: str,
    secrets: Mapping[str, str],
    image: str,
    labels: list[docker.ContainerLabelArgs],
    opts: pulumi.ResourceOptions,
) -> SecretMount:
    """Create the volume; other secrets are another one, and so another service container too."""
    files = [
        docker.ContainerUploadArgs(
            file=f"{FOLDER}/{file}", content=text, permissions=f"0{volume.MODE:o}"
        )
        for file, text in sorted(secrets.items())
    ]
    # Each upload alone could be secret; the whole output is, whatever the provider returns.
    own = pulumi.ResourceOptions(
        additional_secret_outputs=["uploads"],
        # The provider's default is to delete first; the container that serves still mounts it.
        delete_before_replace=False,
        replace_on_changes=["#initerror"],
    )
    container = docker.Container(
        name,
        image=image,
        command=list(volume.COMMAND),
        labels=labels,
        volumes=[docker.ContainerVolumeArgs(container_path=FOLDER)],
        uploads=pulumi.Output.secret(files),
        network_mode="none",
        start=False,
        must_run=False,
        opts=pulumi.ResourceOptions.merge(opts, own),
    )
    created = depends_even_if_failed(container, name, opts.parent) if opts.parent else container
    source = output_or(container.name.apply(volume.volumes_from), "", created)
    mount = docker.ContainerVolumeArgs(from_container=source)
    return SecretMount(volume=mount, secrets_container=created)
