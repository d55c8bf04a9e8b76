"""What a config makes of a service: its values, their defaults, and where a secret could show."""

import pytest

from components.pipeline.config.docker import DOCKER, Machine
from components.pipeline.config.registry import Registry
from components.pipeline.config.services import (
    SERVICE,
    Origin,
    Services,
    ServiceSpec,
    Strategy,
    System,
    Traffic,
)
from components.pipeline.config.stack import parse
from components.pipeline.values import AttrPath, Duration
from tests.unit.config.config_cases import VALID
from tests.unit.hosts import HOST_KEY


def test_a_minimal_service_has_the_documented_defaults() -> None:
    settings = parse({"services": {"app": {"image": "app-image"}}})
    assert settings.hosts == ()
    assert settings.services == Services(
        host="unix:///var/run/docker.sock",
        specs=(
            ServiceSpec(
                name="app",
                image=AttrPath.parse("app-image"),
                origin=Origin.FLAKE,
                system=System.X86_64,
                strategy=Strategy.BLUE_GREEN,
                ports={},
                edge=None,
                traffic=Traffic.HTTP,
                command=(),
                env={},
                secrets={},
                volumes={},
                user="",
                read_only=False,
                healthcheck=(),
                health_interval=Duration("2s"),
                wait=Duration("1m"),
                grace=Duration("10s"),
            ),
        ),
    )
    documented = {key.name: key.default for key in (*DOCKER.keys, *SERVICE.keys) if key.default}
    assert documented == {
        "host": "unix:///var/run/docker.sock",
        "from": "flake",
        "system": "x86_64-linux",
        "strategy": "blue-green",
        "traffic": "http",
        "readOnly": "false",
        "healthInterval": "2s",
        "wait": "1m",
        "grace": "10s",
    }


def test_services_are_sorted_by_name_and_numbers_are_numbers() -> None:
    settings = parse(
        {
            **VALID,
            "docker": {"host": "tcp://localhost:2375"},
            "services": {
                "web": {"image": "web-image", "env": {"WORKERS": 4}},
                "app": {
                    "image": "app-image",
                    "edge": "edge-image",
                    "ports": {"443": 8443, "80": "8080"},
                    "traffic": "tcp",
                    "readOnly": "true",
                },
            },
        }
    )
    assert settings.services.host == "tcp://localhost:2375"
    app, web = settings.services.specs
    assert (app.name, app.ports, app.edge) == (
        "app",
        {443: 8443, 80: 8080},
        AttrPath.parse("edge-image"),
    )
    assert (app.traffic, app.read_only) == (Traffic.TCP, True)
    assert (web.name, web.env) == ("web", {"WORKERS": "4"})


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("ssh://deploy@203.0.113.7", "ssh://deploy@203.0.113.7:22"),
        ("ssh://deploy@203.0.113.7:22/", "ssh://deploy@203.0.113.7:22"),
        ("ssh://root@Docker.Example.org:2222", "ssh://root@docker.example.org:2222"),
        ("ssh://root@[2001:0db8::1]", "ssh://root@[2001:db8::1]:22"),
    ],
)
def test_a_daemon_over_ssh_has_one_spelling_and_a_host_key(written: str, read: str) -> None:
    """Another spelling would count as another daemon: everything would be recreated."""
    services = parse({**VALID, "docker": {"host": written, "hostKey": HOST_KEY.line}}).services
    assert services == Services(host=read, host_key=HOST_KEY)
    assert Machine.parse(read).url == read


def test_a_registry_and_its_login() -> None:
    login = {"username": "me", "password": "pw1"}
    registry = {"address": "registry.example.org:5000/team/x", **login}
    raw = {**VALID, "docker": {"registry": registry}, "services": {"app": {"image": "a"}}}
    found = parse(raw, secret_keys=frozenset({"docker"})).services.registry
    assert found == Registry(address=registry["address"], **login)
    assert found.host == "registry.example.org:5000"
    assert not found.is_here
    assert "pw1" not in repr(found)
    assert found.without_password("said pw1, twice pw1") == "said [secret], twice [secret]"


def test_registries_on_this_machine() -> None:
    for address in ("localhost/x", "localhost:5000", "127.0.0.1:5000/team", "127.8.8.8"):
        assert Registry(address=address).is_here, address
    for address in ("localhost.example.org", "10.0.0.1:5000/x", "registry:5000"):
        assert not Registry(address=address).is_here, address


def test_an_image_from_the_apps_own_flake() -> None:
    raw = {**VALID, "appRef": "v1", "services": {"app": {"image": "a", "from": "app"}}}
    (app,) = parse(raw).services.specs
    assert app.origin is Origin.APP


def test_a_stack_without_services_has_none() -> None:
    assert parse(VALID).services == Services()


def test_an_environment_is_not_in_the_repr() -> None:
    raw = {"services": {"app": {"image": "app-image", "env": {"TOKEN": "hunter2"}}}}
    assert "hunter2" not in repr(parse(raw))
