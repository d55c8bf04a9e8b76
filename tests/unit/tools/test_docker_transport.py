"""How the Docker stand-in reads the address of a daemon."""

import pytest
from standins.docker.transport import Address

from providers.sdk.errors import OperationError


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("unix:///run/docker.sock", Address(socket="/run/docker.sock")),
        ("tcp://docker.example:2376", Address(url="http://docker.example:2376")),
        ("tcp://[2001:db8::1]", Address(url="http://[2001:db8::1]:2375")),
    ],
)
def test_a_socket_and_a_port_are_parsed(text: str, address: Address) -> None:
    assert Address.parse(text) == address


def test_ssh_is_the_docker_clients_command() -> None:
    address = Address.parse("ssh://me@host:2222/run/docker.sock", ("-F", "none"))
    assert address.ssh is not None
    assert " ".join(address.ssh) == (
        "ssh -F none -o ConnectTimeout=30 -T -l me -p 2222 -- host "
        "docker --host unix:///run/docker.sock system dial-stdio"
    )


@pytest.mark.parametrize(
    "text", ["docker.example", "unix://", "tcp://", "ssh://-oProxy", "tcp://h:x"]
)
def test_the_error_for_another_address_shows_valid_ones(text: str) -> None:
    with pytest.raises(OperationError, match="write unix://PATH, tcp://HOST:PORT or ssh://HOST"):
        Address.parse(text)
