"""How the Docker stand-in reads the address of a daemon, and how much it reads of its replies."""

import pytest
from standins.docker.transport import Address, Transport, TransportError

from providers.sdk.errors import OperationError
from tests.unit.activation.http_servers import flood, page, serving


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


async def test_a_reply_without_end_is_an_error() -> None:
    async with serving(flood, page(b"{}", "200 OK", "Api-Version: 1.47")) as server:
        transport = Transport(Address(url=f"http://127.0.0.1:{server.port}"))
        try:
            with pytest.raises(TransportError, match="the reply has more than 16777216 bytes"):
                await transport.request("GET", "/info")
            answer = await transport.request("GET", "/info")
        finally:
            await transport.close()
    assert (answer.headers["api-version"], answer.content) == ("1.47", b"{}")
    assert b"accept-encoding: identity" in server.requests[0].lower()
