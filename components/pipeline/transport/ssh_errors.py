"""Messages for refused ssh connections: another host key, or a refused login."""

import os
import re

from ..errors import HostError, HostKeyError, ProcessError, message
from ..values import HostKey


def explain_refusal(
    error: ProcessError, where: str, pinned: HostKey, remedy: str, *, has_key: bool
) -> HostError | None:
    """The error if ssh refused the host key, or the host refused the login; else None.

    `remedy` is for a host key that changed; `has_key` is whether the config has a login key.
    """
    detail = error.detail
    if "Host key verification failed" in detail or "no matching host key type" in detail:
        offered = re.search(r"SHA256:[A-Za-z0-9+/]{43}", detail)
        keys = f"pinned {pinned.fingerprint}, offered {offered[0] if offered else 'none'}"
        return HostKeyError(message("host key mismatch", where, keys, remedy))
    if "Permission denied (" in detail:
        remedy = "add the public half of sshKey (or of your agent's key) to its authorized keys"
        if not has_key and "SSH_AUTH_SOCK" not in os.environ:
            remedy = (
                "there is no key to log in with: `pulumi config set --secret sshKey < KEYFILE`, "
                "or start an ssh-agent that holds one"
            )
        return HostError(message("the login was refused", where, error.last_lines(1), remedy))
    return None
