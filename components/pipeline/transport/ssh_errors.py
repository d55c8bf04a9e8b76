"""Messages for refused ssh connections: another host key, a refused login, a jump on the way."""

import os
import re
from typing import Final

from ..config.stack import HostSpec
from ..errors import HostError, HostKeyError, ProcessError, UnreachableError, message
from ..values import HostKey

_WAY_CLOSED: Final = "kex_exchange_identification: Connection closed by remote host"
"""What ssh says when the ssh before it, which is its way, ends; that one has said why."""
_NOT_FORWARDED: Final = "stdio forwarding failed"


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


def explain_jump(host: HostSpec, error: ProcessError, *, has_key: bool) -> HostError | None:
    """The error if a jump on the way to the host failed; None if the host itself did."""
    jumps = host.proxy_jump
    number, printed = failed_hop(error.detail, len(jumps))
    if number >= len(jumps):
        return None
    jump = jumps[number]
    of = f" {number + 1} of {len(jumps)}" if len(jumps) > 1 else ""
    where = f"{host.name} (jump{of} {jump.name}, port {jump.port})"
    own = ProcessError(argv=error.argv, code=error.code, detail=printed)
    remedy = "find out why it changed; only then put the new key into proxyJump's hostKey"
    if found := explain_refusal(own, where, jump.host_key, remedy, has_key=has_key):
        return found
    if _NOT_FORWARDED in printed:
        is_last = number + 1 == len(jumps)
        target = f"port {host.port} of the host" if is_last else f"jump {number + 2}"
        remedy = "check that sshd runs there, and that the jump may forward (AllowTcpForwarding)"
        what = f"the jump cannot reach {'the host' if is_last else 'the next one'}"
        return UnreachableError(message(what, where, f"no connection to {target}", remedy))
    remedy = "check its address, port, network and that sshd runs"
    return UnreachableError(message("cannot reach the jump", where, own.last_lines(1), remedy))


def failed_hop(detail: str, jumps: int) -> tuple[int, str]:
    """Which ssh of a chain failed, from 0, and what it printed; `jumps` is that of the host itself.

    Each ssh between it and us finds its way closed, and says so in a line of its own (OpenSSH 9.2).
    """
    lines = [line for line in detail.splitlines() if "UNKNOWN port" not in line]
    own = list(lines)
    while own and own[-1].startswith(_WAY_CLOSED):
        own.pop()
    behind = len(lines) - len(own)
    if behind and not own:  # the same line is what the first of them says of its own connection
        own, behind = lines[:1], behind - 1
    return max(0, jumps - behind), "\n".join(own)
