"""A provider plugin that answers as `pulumi-command` 1.2.1 does.

For networks where the released binary cannot be downloaded. It offers `command:local:Command` and
`command:remote:Command`; anything else ends in an error that says so.
"""

from typing import Final

VERSION: Final = "1.2.1"
"""The release whose behaviour is followed; it is what the engine is told."""
