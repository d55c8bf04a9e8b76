"""What it means where ssh did not let us in: the far side's key is another one, or ours is."""

import os
import re

from ..errors import HostError, HostKeyError, ProcessError, message
from ..values import HostKey


def refused(
    error: ProcessError, where: str, pinned: HostKey, remedy: str, *, has_key: bool
) -> HostError | None:
    """The message, where one of the two keys was not taken.

    `remedy` is for a host's key that has changed; `has_key` is whether the config has one to log
    in with.
    """
    said = error.detail
    if "Host key verification failed" in said or "no matching host key type" in said:
        offered = re.search(r"SHA256:[A-Za-z0-9+/]{43}", said)
        detail = f"pinned {pinned.fingerprint}, offered {offered[0] if offered else 'none'}"
        return HostKeyError(message("host key mismatch", where, detail, remedy))
    if "Permission denied (" in said:
        remedy = "add the public half of sshKey (or of your agent's key) to its authorized keys"
        if not has_key and "SSH_AUTH_SOCK" not in os.environ:
            remedy = (
                "there is no key to log in with: `pulumi config set --secret sshKey < KEYFILE`, "
                "or start an ssh-agent that holds one"
            )
        return HostError(message("the login was refused", where, error.last_lines(1), remedy))
    return None
