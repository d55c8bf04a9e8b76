"""What the configuration of an image says: its digest, and what a container gets from it.

The digest names the whole image, as the configuration lists the digests of its layers. Where an
image was converted (a registry that takes OCI alone), or is stored under another digest
(containerd's store), its content is compared instead.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

_SETTINGS: Final = (
    *("User", "ExposedPorts", "Env", "Entrypoint", "Cmd"),
    *("Volumes", "WorkingDir", "Labels", "StopSignal"),
)
"""What OCI has too (image-spec, config.md)."""
_DOCKERS_OWN: Final = ("Healthcheck", "OnBuild", "Shell", "StopTimeout")
"""What a conversion to OCI drops."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageConfig:
    """The configuration of one image."""

    digest: str
    """`sha256:…` of its bytes."""
    layers: tuple[str, ...]
    """`sha256:…` of each layer, uncompressed."""
    platform: tuple[str, str]
    settings: Mapping[str, Any]

    @classmethod
    def parse(cls, content: bytes) -> Self:
        """Parse the bytes of a configuration.

        Raises:
            ValueError: it is not one.
        """
        try:
            found = json.loads(content)
            layers = found["rootfs"]["diff_ids"]
            platform = found["os"], found["architecture"]
            settings = found.get("config") or {}
        except (AttributeError, KeyError, TypeError, RecursionError) as error:
            msg = "the configuration of its image is malformed"
            raise ValueError(msg) from error
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        return cls._of(digest, layers, platform, settings)

    @classmethod
    def of_inspected(cls, found: Mapping[str, Any]) -> Self:
        """What a daemon says about one of its images; `digest` is then its id."""
        layers = (found.get("RootFS") or {}).get("Layers")
        platform = found.get("Os"), found.get("Architecture")
        return cls._of(str(found["Id"]), layers, platform, found.get("Config") or {})

    @classmethod
    def _of(cls, digest: str, layers: Any, platform: tuple[Any, Any], settings: Any) -> Self:
        if not isinstance(settings, dict) or not isinstance(layers, list | None):
            msg = "the configuration of its image is malformed"
            raise ValueError(msg)  # noqa: TRY004 the content is wrong, not the call
        return cls(
            digest=digest,
            layers=tuple(map(str, layers or ())),
            platform=(str(platform[0]), str(platform[1])),
            # A daemon gives those that are not set too, each with the zero of its type.
            settings={key: value for key, value in settings.items() if value},
        )

    def is_same_as(self, converted: "ImageConfig") -> bool:
        """Whether a container gets the same files and settings from a converted image."""
        given, found = self.settings, converted.settings
        return (
            (self.layers, self.platform) == (converted.layers, converted.platform)
            and all(given.get(key) == found.get(key) for key in _SETTINGS)
            and all(given.get(key) == found[key] for key in _DOCKERS_OWN if key in found)
        )
