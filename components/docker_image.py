"""`DockerImage`: an image of the flake in a daemon."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import pulumi

from components.copying import Copying
from components.dependency import settled
from components.pipeline.evaluate import System

IMAGE: Final = "flakeup:docker:Image"


class Own(pulumi.CustomResource):
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
        image = Own(
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
    name = re.sub(r"[^a-z0-9]+", "-", build.attr.lower()).strip("-")
    return f"{name or 'image'}:{build.out.digest}"
