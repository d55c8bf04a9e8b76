"""The frame of one run of the program: errors as one message, and where the time went."""

from collections.abc import Awaitable, Callable

import pulumi

from components.pipeline.errors import FlakeupError


def run(main: Callable[[], Awaitable[pulumi.Inputs]]) -> None:
    """Run `main` as the Pulumi program; what we foresee ends in its message alone."""

    async def program() -> pulumi.Inputs:
        try:
            return await main()
        except FlakeupError as error:
            # A RunError is printed as it stands, anything else with a traceback.
            raise pulumi.RunError(str(error)) from None

    pulumi.run(program)
