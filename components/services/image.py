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


class ProviderResource(pulumi.CustomResource):
    """A resource of the provider `flakeup` whose outputs are not used."""

    def __init__(
        self, token: str, name: str, props: Mapping[str, object], opts: pulumi.ResourceOptions
    ) -> None:
        super().__init__(token, name, dict(props), opts)


class DaemonImage(pulumi.CustomResource):
    """An image in a daemon; it has a digest if it is in a registry too."""

    digest: pulumi.Output[str]

    def __init__(
        self, name: str, props: Mapping[str, object], opts: pulumi.ResourceOptions
    ) -> None:
        super().__init__(IMAGE, name, {**props, "imageId": None, "digest": None}, opts)


@dataclass(frozen=True, slots=True, kw_only=True)
class DockerImageArgs:
    """An image that nix builds, and the daemon that runs it."""

    build: EvaluatedAttr
    host: str
    registry: Registry | None = None
    """Where it is pushed to, and the daemon pulls it from."""
    builder: BuildAndCopy
    after: pulumi.Input[pulumi.Resource]
    """What comes before loading: the build."""


class DockerImage(pulumi.ComponentResource):
    """An image of the release in a daemon, under a name that the preview knows."""

    ref: str
    digest: pulumi.Output[str]
    """`sha256:…` of its manifest in the registry; empty without a registry."""
    loaded: pulumi.Input[pulumi.Resource]
    """For `depends_on` of what runs it."""

    def __init__(
        self, name: str, args: DockerImageArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("flakeup:index:DockerImage", name, {}, opts)
        self.ref = reference(args.build, args.registry)
        image = DaemonImage(
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
        """The image in the registry, by digest: `<address>/<name>@sha256:…`; empty without one."""
        name = self.ref.rpartition(":")[0]
        return self.digest.apply(lambda digest: f"{name}@{digest}" if digest else "")


def _login(registry: Registry | None) -> dict[str, object]:
    """Return the inputs for a registry; the config's login is a secret in the state."""
    if registry is None:
        return {}
    login = {"username": registry.username, "password": registry.password}
    secrets = {key: pulumi.Output.secret(text) for key, text in login.items() if text}
    return {"registry": registry.address, **secrets}


def reference(build: EvaluatedAttr, registry: Registry | None = None) -> str:
    """Return the name of an image, whose tag is the hash of the store path."""
    name = re.sub(r"[^a-z0-9]+", "-", build.attr.lower()).strip("-") or "image"
    prefix = f"{registry.address}/" if registry else ""
    return f"{prefix}{name}:{build.out_path.digest}"
