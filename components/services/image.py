"""`DockerImage`: an image of the flake in a daemon."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import pulumi

from ..hosts.copy_hooks import BuildAndCopy
from ..pipeline.config.registry import Registry
from ..pipeline.evaluate.attribute import EvaluatedAttr
from ..stack.dependency import depends_even_if_failed, output_or

IMAGE: Final = "flakeup:docker:Image"


class Own(pulumi.CustomResource):
    """A resource of the project's own provider whose outputs nobody reads."""

    def __init__(
        self, token: str, name: str, props: Mapping[str, object], opts: pulumi.ResourceOptions
    ) -> None:
        super().__init__(token, name, dict(props), opts)


class Image(pulumi.CustomResource):
    """An image in a daemon; its digest is known where it is in a registry too."""

    digest: pulumi.Output[str]

    def __init__(
        self, name: str, props: Mapping[str, object], opts: pulumi.ResourceOptions
    ) -> None:
        super().__init__(IMAGE, name, {**props, "imageId": None, "digest": None}, opts)


@dataclass(frozen=True, slots=True, kw_only=True)
class DockerImageArgs:
    """An image that nix builds, and the daemon that is to have it."""

    build: EvaluatedAttr
    host: str
    registry: Registry | None = None
    """Where it is pushed, for the daemon to pull it."""
    builder: BuildAndCopy
    after: pulumi.Input[pulumi.Resource]
    """What has to be done before it is loaded: the build."""


class DockerImage(pulumi.ComponentResource):
    """An image of the release in a daemon, under a name that the preview knows."""

    ref: str
    digest: pulumi.Output[str]
    """`sha256:…` of its manifest in the registry; empty where it goes through none."""
    loaded: pulumi.Input[pulumi.Resource]
    """For those who run it."""

    def __init__(
        self, name: str, args: DockerImageArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("flakeup:index:DockerImage", name, {}, opts)
        self.ref = reference(args.build, args.registry)
        image = Image(
            name,
            {
                "host": args.host,
                "ref": self.ref,
                "built": args.build.out_path.path,
                **_login(args.registry),
            },
            pulumi.ResourceOptions(
                parent=self, depends_on=[args.after], hooks=args.builder.build_hooks(name)
            ),
        )
        self.loaded = depends_even_if_failed(image, name, self)
        self.digest = output_or(image.digest, "", self.loaded)
        self.register_outputs({"ref": self.ref, "digest": self.digest})

    @property
    def pinned(self) -> pulumi.Output[str]:
        """The image in the registry, for whoever else runs it: `<address>/<name>@sha256:…`."""
        name = self.ref.rpartition(":")[0]
        return self.digest.apply(lambda digest: f"{name}@{digest}" if digest else "")


def _login(registry: Registry | None) -> dict[str, object]:
    """The registry, and the login of the config: in the state it is a secret only."""
    if registry is None:
        return {}
    login = {"username": registry.username, "password": registry.password}
    hidden = {key: pulumi.Output.secret(text) for key, text in login.items() if text}
    return {"registry": registry.address, **hidden}


def reference(build: EvaluatedAttr, registry: Registry | None = None) -> str:
    """The name of an image: its tag is the hash of the store path, and is never moved."""
    name = re.sub(r"[^a-z0-9]+", "-", build.attr.lower()).strip("-") or "image"
    place = f"{registry.address}/" if registry else ""
    return f"{place}{name}:{build.out_path.digest}"
