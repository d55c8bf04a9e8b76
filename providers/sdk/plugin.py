"""A plugin: its name, its resource types, and its configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from .fields import Shape

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from .inputs import Inputs
    from .resource import Resource
    from .values import Properties


class Plugin:
    """What a process serves; one instance, all on one event loop."""

    name: ClassVar[str]
    version: ClassVar[str]
    settings: ClassVar[Shape] = Shape(token="", fields={})
    """The provider's configuration."""
    resources: Sequence[Resource[Any]]

    async def configure(self, settings: Inputs) -> None:
        """Take the configuration, before any resource is asked for. Connect to nobody yet.

        In a preview a setting that is not known yet is neither a text nor a number.
        """
        del settings

    async def call(self, function: str, arguments: Inputs) -> Properties | None:
        """Answer a function of the plugin; None where there is none of that token.

        Raises:
            OperationError: it failed; the text is all that the user reads.
        """
        del function, arguments
        return None

    async def close(self) -> None:
        """Let go of what is kept between operations: the process is about to end."""

    def not_offered(self, what: str, token: str) -> str:
        """What to say of a resource type or function that there is not."""
        known = ", ".join(sorted(resource.shape.token for resource in self.resources))
        return f"{what} {token!r} is not in the plugin {self.name!r}: it has {known}"
