"""The configuration of HAProxy: the same text for the same route."""

from components.pipeline.config.services import Traffic
from components.pipeline.targets.docker.route import Route

HEAD = """\
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


def head(mode: str = "http", grace: int = 30) -> str:
    return HEAD.format(mode=mode, grace=grace)


def test_http() -> None:
    route = Route(ports={80: 8080}, container="app-1234567", grace=10)
    assert route.config == (
        head(grace=10)
        + """
frontend port-80
    bind :80
    default_backend to-8080-of-80

backend to-8080-of-80
    server app-1234567 app-1234567:8080 resolvers docker init-addr libc,none
"""
    )


def test_tcp() -> None:
    route = Route(ports={5432: 5432}, container="db-1234567", traffic=Traffic.TCP)
    assert route.config == (
        head(mode="tcp")
        + """
frontend port-5432
    bind :5432
    default_backend to-5432-of-5432

backend to-5432-of-5432
    server db-1234567 db-1234567:5432 resolvers docker init-addr libc,none
"""
    )


def test_two_ports_to_the_same_port() -> None:
    route = Route(ports={443: 8080, 80: 8080}, container="app-1234567")
    assert route.config == (
        head()
        + """
frontend port-80
    bind :80
    default_backend to-8080-of-80

backend to-8080-of-80
    server app-1234567 app-1234567:8080 resolvers docker init-addr libc,none

frontend port-443
    bind :443
    default_backend to-8080-of-443

backend to-8080-of-443
    server app-1234567 app-1234567:8080 resolvers docker init-addr libc,none
"""
    )


def test_without_a_container() -> None:
    assert Route(ports={80: 8080, 81: 8081}).config == (
        head()
        + """
frontend port-80
    bind :80
    http-request return status 503

frontend port-81
    bind :81
    http-request return status 503
"""
    )
    assert Route(ports={22: 2222}, traffic=Traffic.TCP).config == (
        head(mode="tcp")
        + """
frontend port-22
    bind :22
    tcp-request connection reject
"""
    )


def test_the_order_of_the_ports_does_not_matter() -> None:
    one = Route(ports={80: 8080, 443: 8443}, container="app-1")
    other = Route(ports={443: 8443, 80: 8080}, container="app-1")
    assert one.config == other.config
    assert Route(ports={80: 8080, 443: 8443}, container="app-2").config != one.config
