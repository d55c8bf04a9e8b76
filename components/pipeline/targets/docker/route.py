"""Where the edge of a service forwards requests to, as a configuration of HAProxy."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from ...config.services import Traffic

FOLDER: Final = "/etc/haproxy"
CONFIG: Final = f"{FOLDER}/haproxy.cfg"
COMMAND: Final = ("haproxy", "-W", "-db", "-f", CONFIG)
RESTART: Final = "always"
STOP_SIGNAL: Final = "SIGUSR1"
"""Restart policy of edges and services, and the signal that stops an edge.

An edge gets its routes by a signal (USR2), after which Docker takes it for stopped by hand: with
another policy it would not be started again with the machine, nor, without a stop signal of its
own, after a crash. And a dockerd that was killed stops, when it starts again, the containers that
still run, and takes them for stopped by hand too.
"""
_HEAD: Final = """\
global
    log stdout format raw local0 notice
    hard-stop-after {grace}s

defaults
    log global
    mode {mode}
    timeout connect 5s
    timeout client 1m
    timeout server 1m
    retries 3
    option redispatch

resolvers docker
    nameserver embedded 127.0.0.11:53
    resolve_retries 3
    timeout resolve 1s
    timeout retry 1s
    hold valid 2s
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """Where an edge forwards requests to; without a container it answers them itself."""

    ports: Mapping[int, int]
    """Port of the edge → port of the container."""
    container: str = ""
    traffic: Traffic = Traffic.HTTP
    grace: int = 30
    """Seconds that existing connections have to end."""

    @property
    def config(self) -> str:
        """The configuration of HAProxy: the same text for the same route."""
        head = _HEAD.format(grace=self.grace, mode=self.traffic.value)
        return "\n".join([head, *(self._port(*pair) for pair in sorted(self.ports.items()))])

    def _port(self, outer: int, inner: int) -> str:
        front = f"frontend port-{outer}\n    bind :{outer}\n"
        if not self.container:
            unavailable = {
                Traffic.HTTP: "http-request return status 503",
                Traffic.TCP: "tcp-request connection reject",
            }
            return f"{front}    {unavailable[self.traffic]}\n"
        # By name, not by address: a container that restarts may get another address.
        server = f"{self.container} {self.container}:{inner} resolvers docker init-addr libc,none"
        back = f"backend to-{inner}-of-{outer}\n    server {server}\n"
        return f"{front}    default_backend to-{inner}-of-{outer}\n\n{back}"
