"""A plugin: its name, its resource types, and its configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from .schema import Schema

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
    config: ClassVar[Schema] = Schema(token="", fields={})
    """The provider's configuration."""
    resources: Sequence[Resource[Any]]

    async def configure(self, config: Inputs) -> None:
        """Take the configuration, before the first call for a resource. Do not connect yet.

        In a preview, a value that is still unknown is neither a string nor a number.
        """
        del config

    async def invoke(self, function: str, arguments: Inputs) -> Properties | None:
        """Answer a function of the plugin; None if there is none of that token.

        Raises:
            OperationError: it failed; the text is all that the user reads.
        """
        del function, arguments
        return None

    async def close(self) -> None:
        """Release what is kept between operations: the process is about to end."""

    def unsupported_message(self, what: str, token: str) -> str:
        """The error for a resource type or function that the plugin does not have."""
        known = ", ".join(sorted(resource.schema.token for resource in self.resources))
        return f"{what} {token!r} is not in the plugin {self.name!r}: it has {known}"
