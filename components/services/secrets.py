"""The container that holds the secrets of a service: made and filled before the service's own."""

from collections.abc import Mapping

import pulumi
import pulumi_docker as docker

from ..pipeline.targets.docker import secret
from ..stack.dependency import depends_even_if_failed, output_or

Holding = tuple[docker.ContainerVolumeArgs, pulumi.Input[pulumi.Resource]]
"""What a service's container has from it, and what it has to wait for."""


def held(
    name: str,
    secrets: Mapping[str, str],
    image: str,
    labels: list[docker.ContainerLabelArgs],
    opts: pulumi.ResourceOptions,
) -> Holding:
    """Make it; another secret is another one, with another name, and so another container too."""
    files = [
        docker.ContainerUploadArgs(
            file=f"{secret.FOLDER}/{file}", content=text, permissions=f"0{secret.MODE:o}"
        )
        for file, text in sorted(secrets.items())
    ]
    # Each input alone could be secret; all of them are, whatever the provider gives back.
    own = pulumi.ResourceOptions(
        additional_secret_outputs=["uploads"],
        # The provider's own way is to delete first; what serves has it still.
        delete_before_replace=False,
        replace_on_changes=["#initerror"],
    )
    holder = docker.Container(
        name,
        image=image,
        command=list(secret.IDLE),
        labels=labels,
        volumes=[docker.ContainerVolumeArgs(container_path=secret.FOLDER)],
        uploads=pulumi.Output.secret(files),
        network_mode="none",
        start=False,
        must_run=False,
        opts=pulumi.ResourceOptions.merge(opts, own),
    )
    made = depends_even_if_failed(holder, name, opts.parent) if opts.parent else holder
    from_holder = output_or(holder.name.apply(secret.volumes_from), "", made)
    return docker.ContainerVolumeArgs(from_container=from_holder), made
