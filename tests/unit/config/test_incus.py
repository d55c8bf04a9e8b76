"""An instance as configured: what a host's `incus` takes from the stack's, and what it becomes."""

import copy
from typing import Any

import pytest

from components.pipeline.config.incus import INCUS, INCUS_HOST, IncusSpec, OnImageChange
from components.pipeline.config.stack import HostSpec, Settings, Target, parse
from components.pipeline.errors import ConfigError
from tests.unit.config.config_cases import VALID

PLACES = [
    *(("incus", key.name) for key in INCUS.keys),
    *(("hosts", "web2", "incus", key.name) for key in INCUS_HOST.keys),
]


def config(stack: object = None, host: object = None) -> dict[str, Any]:
    """A stack with an instance and an existing host."""
    raw: dict[str, Any] = copy.deepcopy(VALID)
    raw["hosts"]["web2"] = {"target": "incus", **({"incus": host} if host is not None else {})}
    return {**raw, **({"incus": stack} if stack is not None else {})}


def read(stack: object = None, host: object = None) -> IncusSpec:
    found = one(parse(config(stack, host))).incus
    assert found
    return found


def one(settings: Settings) -> HostSpec:
    return next(host for host in settings.hosts if host.name == "web2")


@pytest.mark.parametrize("place", PLACES, ids=".".join)
def test_each_declared_key_is_read(place: tuple[str, ...]) -> None:
    """A key that is in the documentation and that nobody reads would be accepted in silence."""
    raw = config({}, {})
    parent = raw
    for name in place[:-1]:
        parent = parent[name]
    parent[place[-1]] = [[]]
    with pytest.raises(ConfigError) as caught:
        parse(raw)
    assert {problem.path for problem in caught.value.problems} == {".".join(place)}


def test_a_minimal_instance_has_the_documented_defaults() -> None:
    host = one(parse(config()))
    assert (host.target, host.endpoint, host.attr.text) == (Target.INCUS, None, "web2")
    assert host.incus == IncusSpec(name="web2")
    assert (host.incus.remote, host.incus.project) == ("local", "default")
    assert host.incus.profiles == ("default",)
    assert host.incus.on_image_change is OnImageChange.IGNORE
    assert host.incus.config == {"security.nesting": "true"}
    assert host.incus.devices == {}
    assert host.incus.boot_timeout.seconds == 120


def test_a_host_falls_back_to_the_stack_key_by_key() -> None:
    spec = read(
        {
            "project": "shop",
            "image": "incus-base",
            "profiles": ["default", "web"],
            "config": {"limits.cpu": "1", "limits.memory": "1GiB"},
            "devices": {"gpu": {"type": "gpu"}, "log": {"type": "none"}},
            "bootTimeout": "5m",
            "protect": True,
        },
        {
            "project": "other",
            "config": {"limits.cpu": "4"},
            "devices": {"log": {"type": "disk", "source": "/log", "path": "/log"}},
            "protect": False,
        },
    )
    assert (spec.project, spec.profiles) == ("other", ("default", "web"))
    assert spec.image
    assert spec.image.text == "incus-base"
    assert spec.config == {
        "security.nesting": "true",
        "limits.cpu": "4",
        "limits.memory": "1GiB",
    }
    assert spec.devices == {
        "gpu": {"type": "gpu"},
        "log": {"type": "disk", "source": "/log", "path": "/log"},
    }
    assert (spec.boot_timeout.seconds, spec.protect) == (300, False)


def test_network_pool_and_size_are_devices() -> None:
    spec = read({"network": "br0", "pool": "fast"}, {"rootSize": "20GiB"})
    assert spec.devices == {
        "eth0": {"type": "nic", "name": "eth0", "network": "br0"},
        "root": {"type": "disk", "path": "/", "pool": "fast", "size": "20GiB"},
    }


def test_protect_sets_the_servers_own_protection() -> None:
    assert read({}, {"protect": True}).config == {
        "security.nesting": "true",
        "security.protection.delete": "true",
    }


def test_nesting_can_be_turned_off() -> None:
    assert read({"config": {"security.nesting": "false"}}).config == {"security.nesting": "false"}


def test_another_instance_name_keeps_the_hosts_system() -> None:
    host = one(parse(config({}, {"name": "shop-web2"})))
    assert host.incus
    assert (host.incus.name, host.attr.text) == ("shop-web2", "web2")


def test_a_host_has_the_certificate_of_its_own_remote() -> None:
    plain = "3f9a" * 16
    stack = {"remote": "rack2", "fingerprints": {"rack2": ":".join(["3F", "9A"] * 16)}}
    assert read(stack).certificate == plain
    assert read({"fingerprints": {"rack3": plain}}, {"remote": "rack3"}).certificate == plain
    assert read({"remote": "rack2"}).certificate == ""
