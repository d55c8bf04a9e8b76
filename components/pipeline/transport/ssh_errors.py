"""Messages for failed ssh connections: a host key, a refused login, no algorithm, a jump.

The texts are those of OpenSSH's client (sshconnect2.c, authfile.c, ssherr.c, packet.c), and those
that its server sends to be shown (auth.c, session.c) or PAM has it send.
"""

import os
import re
from dataclasses import dataclass
from typing import Final

from ..config.stack import HostSpec
from ..errors import HostError, HostKeyError, ProcessError, UnreachableError, message
from ..values import HostKey

_WAY_CLOSED: Final = "kex_exchange_identification: Connection closed by remote host"
"""What ssh says when the ssh before it, which is its way, ends; that one has said why."""
_NOT_FORWARDED: Final = "stdio forwarding failed"

SSH_FAILED: Final = 255
"""Exit code of ssh when ssh itself failed, not the remote command."""
_REFUSED: Final = "the login was refused"
_SET_KEY: Final = "`pulumi config set --secret sshKey < KEYFILE`"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Refusal:
    """A way to refuse: a line of ssh's that shows it, and what to do about it.

    `remedy` may name the groups of `line`.
    """

    line: str
    """A regular expression."""
    remedy: str
    with_key: str = ""
    """The remedy if the config has a login key, where that is another one."""
    with_nothing: str = ""
    """The remedy if there is neither that nor an agent, where that is another one."""
    what: str = _REFUSED
    is_session: bool = False
    """Whether it comes after the login, with the exit code of a command."""


_REFUSALS: Final = (
    _Refusal(
        line=r"Too many authentication failures",
        remedy="the host counts each key that the agent offers: set sshKey "
        f"({_SET_KEY}), or keep fewer keys in the agent",
        with_key="raise MaxAuthTries of its sshd: only sshKey was offered",
    ),
    _Refusal(
        line=r"Permissions \S+ for '(?P<file>.*)' are too open",
        remedy="ssh ignores a key that others may read: `chmod 600 {file}`",
        with_key="put this folder on a file system that keeps modes: flakeup writes the key with "
        "mode 0600",
    ),
    _Refusal(
        line=r"Load key \"(?P<file>.*)\": Permission denied",
        remedy="let the user who runs pulumi read {file}",
    ),
    _Refusal(
        line=r"Load key \"(?P<file>.*)\": incorrect passphrase",
        remedy="a key with a passphrase needs an ssh-agent: `ssh-add {file}`",
        with_key=f"sshKey must have no passphrase: {_SET_KEY} of another key, or remove sshKey and "
        "use an agent",
    ),
    _Refusal(
        line=r"Load key \"(?P<file>.*)\": ",
        remedy="write {file} in OpenSSH's format (`ssh-keygen -p -f {file}`), or set sshKey",
        with_key=f"set sshKey again, from a key in OpenSSH's format: {_SET_KEY}",
    ),
    _Refusal(
        line=r"signing failed for .* from agent: ",
        remedy="unlock the agent or confirm the key's use (`ssh-add -l` shows its keys), or set "
        f"sshKey ({_SET_KEY})",
    ),
    _Refusal(
        line=r"no mutual signature (supported|algorithm)",
        remedy="host and ssh share no signature for a key of this kind: use an ed25519 key",
    ),
    _Refusal(
        line=(
            "Your password has expired|You are required to change your password"
            "|Password change required but no TTY"
        ),
        remedy="change the user's password on the host (`passwd`), or let it never expire "
        "(`chage -M -1`)",
        is_session=True,
    ),
    _Refusal(
        line=r"Your account has expired|[Aa]ccount (is|has been) (locked|expired|disabled)",
        remedy="let an administrator of the host renew the account (`chage -E -1`)",
    ),
    _Refusal(
        line=r"Permission denied \((?!.*publickey)|No supported authentication methods available",
        remedy="flakeup logs in with a key and nothing else: let its sshd accept one "
        "(PubkeyAuthentication, AuthenticationMethods)",
    ),
    _Refusal(
        line=r"Permission denied \(|^Authentication failed\.",
        remedy="add the public half of sshKey (or of your agent's key) to its authorized keys",
        with_nothing=f"there is no key to log in with: {_SET_KEY}, "
        "or start an ssh-agent that holds one",
    ),
    _Refusal(
        line=r"no matching (key exchange method|cipher|MAC|compression method) found",
        remedy="let its sshd offer an algorithm that this ssh has (`ssh -Q kex`, `cipher`, `mac`)",
        what="no common algorithm",
    ),
)
"""What the first of these finds is said: the cause comes before `Permission denied` in it."""


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
    by_ssh = error.code in {None, SSH_FAILED}
    lines = [line.strip() for line in detail.splitlines()]
    for refusal in _REFUSALS:
        for line in lines if by_ssh or refusal.is_session else ():
            if found := re.search(refusal.line, line):
                text = _remedy(refusal, has_key=has_key).format_map(found.groupdict())
                return HostError(message(refusal.what, where, line, text))
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


def explain_closed(error: ProcessError) -> tuple[str, str]:
    """The line that says why a connection ended, and what the host's sshd may know of it.

    sshd closes the connection without a word to an account that PAM refuses (expired, locked, no
    login before the boot is over), as it does when it is stopped, so neither is certain.
    """
    lines = [line for line in error.detail.splitlines() if not line.startswith("Disconnected from")]
    line = lines[-1] if lines else error.last_lines(1)
    greeted = "kex_exchange_identification" not in error.detail
    if greeted and re.match(r"Connection (closed|reset) by \S+ port \d+", line):
        return line, "; its log says whether it refused the account (expired, locked)"
    return line, ""


def _remedy(refusal: _Refusal, *, has_key: bool) -> str:
    if has_key:
        return refusal.with_key or refusal.remedy
    return (refusal.with_nothing if "SSH_AUTH_SOCK" not in os.environ else "") or refusal.remedy
