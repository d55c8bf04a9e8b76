"""What is said of each text with which OpenSSH tells a refused login."""

import re

import pytest

from components.pipeline.errors import HostError, ProcessError, UnreachableError
from components.pipeline.transport.ssh import Ssh, explain
from tests.unit.hosts import host
from tests.unit.transport.test_ssh import AGENT, KEY

TOO_MANY = """\
Received disconnect from 192.0.2.10 port 22:2: Too many authentication failures
Disconnected from 192.0.2.10 port 22"""
OPEN = """\
@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@
@         WARNING: UNPROTECTED PRIVATE KEY FILE!          @
@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@
Permissions 0644 for '/root/.ssh/id_ed25519' are too open.
It is required that your private key files are NOT accessible by others.
This private key will be ignored.
Load key "/root/.ssh/id_ed25519": bad permissions
root@192.0.2.10: Permission denied (publickey)."""
DENIED = "root@192.0.2.10: Permission denied (publickey)."
EXPIRED = "WARNING: Your password has expired.\nPassword change required but no TTY available."

CASES = [
    pytest.param(
        TOO_MANY, "Received disconnect .* Too many authentication failures",
        "set sshKey .*, or keep fewer keys in the agent", "raise MaxAuthTries of its sshd",
        id="too many keys",
    ),
    pytest.param(
        "Received disconnect from 192.0.2.10 port 22:2: Too many authentication failures for root",
        "Received disconnect .* failures for root", "keep fewer keys", "raise MaxAuthTries",
        id="too many keys, an older server",
    ),
    pytest.param(
        OPEN, "Permissions 0644 for '/root/.ssh/id_ed25519' are too open",
        "`chmod 600 /root/.ssh/id_ed25519`", "a file system that keeps modes",
        id="a key that others may read",
    ),
    pytest.param(
        f'Load key "/k": Permission denied\n{DENIED}', 'Load key "/k": Permission denied',
        "let the user who runs pulumi read /k", "let the user who runs pulumi read /k",
        id="a key that cannot be read",
    ),
    pytest.param(
        f'Load key "/k": incorrect passphrase supplied to decrypt private key\n{DENIED}',
        'Load key "/k": incorrect passphrase', "`ssh-add /k`", "sshKey must have no passphrase",
        id="a key with a passphrase",
    ),
    pytest.param(
        f'Load key "/k": error in libcrypto\n{DENIED}', 'Load key "/k": error in libcrypto',
        "write /k in OpenSSH's format", "set sshKey again", id="a damaged key",
    ),
    pytest.param(
        f'Load key "/k": invalid format\n{DENIED}', 'Load key "/k": invalid format',
        "write /k in OpenSSH's format", "set sshKey again", id="a key in another format",
    ),
    pytest.param(
        'sign_and_send_pubkey: signing failed for ED25519 "a@b" from agent: agent refused operation'
        f"\n{DENIED}",
        "sign_and_send_pubkey: .* agent refused operation", "unlock the agent", "unlock the agent",
        id="a locked agent",
    ),
    pytest.param(
        f"sign_and_send_pubkey: no mutual signature supported\n{DENIED}",
        "sign_and_send_pubkey: no mutual signature supported", "use an ed25519 key",
        "use an ed25519 key", id="a signature that the host refuses",
    ),
    pytest.param(
        "root@192.0.2.10: Permission denied (password,keyboard-interactive).",
        r".*\(password,keyboard-interactive\)", "let its sshd accept one",
        "let its sshd accept one",
        id="no keys at all",
    ),
    pytest.param(
        "Received disconnect from 192.0.2.10 port 22:14: No supported authentication methods "
        "available\nDisconnected from 192.0.2.10 port 22",
        ".* No supported authentication methods available", "let its sshd accept one",
        "let its sshd accept one", id="another server without methods",
    ),
    pytest.param(
        "Authentication failed.", "Authentication failed", "to its authorized keys",
        "to its authorized keys", id="authentication failed",
    ),
    pytest.param(
        "Your account has expired; please contact your system administrator.\n"
        "Connection closed by 192.0.2.10 port 22",
        "Your account has expired.*", "renew the account", "renew the account",
        id="an expired account",
    ),
]  # fmt: skip


def failure(text: str, code: int | None = 255) -> ProcessError:
    return ProcessError(argv=("ssh",), code=code, detail=text)


@pytest.fixture(autouse=True)
def _agent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSH_AUTH_SOCK", "/run/agent")


@pytest.mark.parametrize("has_key", [True, False], ids=["sshKey", "agent"])
@pytest.mark.parametrize(("printed", "detail", "with_agent", "with_key"), CASES)
def test_a_refused_login(
    printed: str,
    detail: str,
    with_agent: str,
    with_key: str,
    has_key: bool,  # noqa: FBT001
) -> None:
    found = explain(Ssh.of(host(), KEY if has_key else AGENT), failure(printed))
    assert type(found) is HostError
    remedy = with_key if has_key else with_agent
    where = r"web1 \(root@192\.0\.2\.10, port 22\)"
    assert re.fullmatch(f"the login was refused: {where}: {detail}.*{remedy}.*", str(found))


@pytest.mark.parametrize("printed", [EXPIRED, EXPIRED.splitlines()[0]])
def test_an_expired_password(printed: str) -> None:
    """The login succeeds; the session ends with 1, as a command may."""
    text = str(explain(Ssh.of(host(), KEY), failure(printed, 1)))
    assert text.startswith("the login was refused: web1 (root@192.0.2.10, port 22): WARNING: Your")
    assert text.endswith("or let it never expire (`chage -M -1`)")


@pytest.mark.parametrize("printed", [DENIED, TOO_MANY, 'Load key "/k": invalid format'])
def test_what_a_command_on_the_host_prints_is_no_refused_login(printed: str) -> None:
    text = str(explain(Ssh.of(host(), KEY), failure(printed, 1)))
    assert text.startswith("the host could not run the command: ")


@pytest.mark.parametrize("what", ["key exchange method", "cipher", "MAC"])
def test_no_common_algorithm(what: str) -> None:
    printed = (
        f"Unable to negotiate with 192.0.2.10 port 22: no matching {what} found. Their offer: x"
    )
    found = explain(Ssh.of(host(), KEY), failure(printed))
    assert type(found) is HostError
    assert str(found) == (
        f"no common algorithm: web1 (root@192.0.2.10, port 22): {printed}."
        " let its sshd offer an algorithm that this ssh has (`ssh -Q kex`, `cipher`, `mac`)"
    )


@pytest.mark.parametrize(
    ("printed", "last", "is_maybe_refused"),
    [
        (
            "Connection closed by 192.0.2.10 port 22",
            "Connection closed by 192.0.2.10 port 22",
            True,
        ),
        ("Connection reset by 192.0.2.10 port 22", "Connection reset by 192.0.2.10 port 22", True),
        (
            (
                "kex_exchange_identification: Connection closed by remote host\n"
                "Connection closed by 192.0.2.10 port 22"
            ),
            "Connection closed by 192.0.2.10 port 22",
            False,
        ),
        (
            (
                "Received disconnect from 192.0.2.10 port 22:11: going down\n"
                "Disconnected from 192.0.2.10 port 22"
            ),
            "Received disconnect from 192.0.2.10 port 22:11: going down",
            False,
        ),
    ],
)
def test_a_closed_connection(printed: str, last: str, is_maybe_refused: bool) -> None:  # noqa: FBT001
    """PAM refuses an account by closing the connection, as a server that is stopped does."""
    found = explain(Ssh.of(host(), KEY), failure(printed))
    assert type(found) is UnreachableError
    assert f": {last}. check address" in str(found)
    assert ("its log says whether it refused the account" in str(found)) is is_maybe_refused
