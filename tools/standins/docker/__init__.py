"""A stand-in for the provider plugin `pulumi-docker` 5.2.0.

For networks where the released binary cannot be downloaded. It offers containers, networks and
volumes on a real daemon; anything else ends in an error that says so.
"""

from typing import Final

VERSION: Final = "5.2.0"
"""The release that it imitates, and the version that it reports to the engine."""
