"""The machines that connections to a host go through: `proxyJump` of a host."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final

from ..values import HostAddress, HostKey, Port, UserName
from ..values.names import MAX_PORT
from .schema import Key, Table
from .section import SECRET, Section, is_too_large, not_a, path_to, shown

MAX_JUMPS: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Jump:
    """One machine on the way to a host; its sshd forwards the connection."""

    address: Annotated[
        HostAddress,
        Key(
            "Where its sshd listens, as seen from the jump before it; the first one's as seen from "
            "the machine that runs the program.",
            takes="an address",
            write="write a host name or an IP address, such as bastion.example.org",
            limits="as a host's `address`",
        ),
    ]
    port: Annotated[
        int,
        Key(
            "The port of its sshd.",
            takes="a port",
            write="write a port, such as 22",
            limits=f"1 to {MAX_PORT}",
            within=(1, MAX_PORT),
            parse=lambda text: Port.parse(text).number,
        ),
    ] = 22
    user: Annotated[
        UserName,
        Key(
            "The user to log in as, with the same key as on the host. It needs neither a shell nor "
            "sudo, only the right to forward connections (`AllowTcpForwarding`).",
            takes="a login name",
            write="write a login name of that machine, such as jump",
            limits="as a host's `user`",
        ),
    ] = UserName("root")
    host_key: Annotated[
        HostKey,
        Key(
            "Its public ed25519 key, which every connection verifies; this cannot be turned off.",
            takes="a host key",
            write=(
                "write the line of /etc/ssh/ssh_host_ed25519_key.pub on that machine: "
                "ssh-ed25519 AAAA..."
            ),
            limits="as a host's `hostKey`",
        ),
    ]

    @property
    def name(self) -> str:
        """Its login, as messages name it."""
        return f"{self.user.text}@{self.address.text}"


JUMP: Final = Table(
    Jump,
    "A machine that connections to a host go through. Checks `from: deployer` do not: they connect "
    "from the machine that runs `pulumi up` straight to what they name.",
)


def read_jumps(host: Section, key: Key) -> tuple[Jump, ...] | None:
    """Read `proxyJump`, a map or a list of maps; None if it has problems, which it then reports."""
    before = len(host.problems)
    value = host.values[key.name]
    if isinstance(value, Mapping):
        read = [host.open(key.name, value, JUMP).read_fields()]
    else:
        items = host.read_list(key.name)
        if items is None or is_too_large(host, key.name, items, MAX_JUMPS, "jumps"):
            return None
        if not items:
            host.reject(key.name, "is empty")
        read = [_read_item(host, key, index, item) for index, item in enumerate(items)]
    if len(host.problems) > before:
        return None
    return tuple(Jump(**fields) for fields in read)


def _read_item(host: Section, key: Key, index: int, item: object) -> dict[str, Any]:
    if isinstance(item, Mapping):
        return host.open(key.name, item, JUMP, index=index).read_fields()
    value = SECRET if host.is_hidden(key.name) else shown(item)
    path = f"{path_to(host.path, key.name)}[{index}]"
    host.reject_value(path, value, not_a("a map", item), key.write)
    return {}
