"""A stand-in for the provider plugin `pulumi-command` 1.2.1.

For networks where the released binary cannot be downloaded. It offers `command:local:Command` and
`command:remote:Command`; anything else ends in an error that says so.
"""

from typing import Final

VERSION: Final = "1.2.1"
"""The release that it imitates, and the version that it reports to the engine."""
