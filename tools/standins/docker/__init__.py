"""A provider plugin that answers as `pulumi-docker` 5.2.0 does.

For networks where the released binary cannot be downloaded. It offers containers, networks and
volumes on a real daemon; anything else ends in an error that says so.
"""

from typing import Final

VERSION: Final = "5.2.0"
"""The release whose behaviour is followed; it is what the engine is told."""
