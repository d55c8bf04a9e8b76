import socket
import subprocess
import sys
from pathlib import Path

import pytest

from harness.ports import free_port

CODE = "from harness.ports import free_port; [print(free_port()) for _ in range(200)]"


def test_no_port_is_given_twice_nor_used_for_outgoing_connections() -> None:
    outgoing = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    mine = [free_port() for _ in range(200)]
    with subprocess.Popen((sys.executable, "-c", CODE), stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        theirs = [int(line) for line in other.stdout]
    ports = mine + theirs
    assert len(set(ports)) == len(ports) == 400
    assert max(ports) < outgoing


def test_adjacent_ports_can_all_be_bound() -> None:
    first = free_port(count=3)
    servers = [socket.create_server(("", port)) for port in range(first, first + 3)]
    for server in servers:
        server.close()


def test_a_used_port_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("", 0)) as used, socket.create_server(("", 0)) as closed:
        offered = [one.getsockname()[1] for one in (used, closed)]
        closed.close()
        rest = iter(offered)
        monkeypatch.setattr("random.randrange", lambda _first, _end: next(rest))
        assert free_port() == offered[1]
