"""What a host says in the flake of how it is switched, and the config that is laid over it."""

import pytest

from components.pipeline.config.activation import DEFAULTS, Activation
from components.pipeline.config.checks import Check
from components.pipeline.config.stack import HostSpec, Settings, parse
from components.pipeline.errors import ConfigError, EvaluationError
from components.pipeline.evaluate import host_defaults
from components.pipeline.evaluate.attribute import EvaluatedAttr
from components.pipeline.values import Duration, StorePath
from tests.unit.hosts import HOST_KEY, host

WEB = {"http": "http://localhost:8080/", "hold": "2s"}


def system(activation: object) -> EvaluatedAttr:
    path = StorePath.parse(f"/nix/store/{'a' * 32}-nixos-system-web1")
    assert isinstance(activation, dict)
    return EvaluatedAttr(attr="web1", drv_path=path, out_path=path, activation=activation)


def read(activation: object) -> Activation:
    return host_defaults.read({"web1": system(activation)}, [host("web1")])["web1"]


def settings(**raw: object) -> Settings:
    one = {"address": "192.0.2.10", "hostKey": HOST_KEY.line}
    inner = raw.pop("host", {})
    assert isinstance(inner, dict)
    return parse({"hosts": {"web1": {**one, **inner}}, **raw})


def resolve(flake: Activation, **raw: object) -> HostSpec:
    """The host of a config that is laid over what the flake says of it."""
    (found,) = settings(**raw).resolve_hosts({"web1": flake})
    return found


def checks_of(host: HostSpec) -> dict[str, Check]:
    return {one.name: one for one in host.activation.checks}


def test_a_host_without_an_activation_in_the_flake_is_not_listed() -> None:
    assert host_defaults.read({"web1": system({})}, [host("web1")]) == {}


def test_checks_and_times_of_the_flake() -> None:
    made = read({"checks": {"web": WEB}, "settle": "3s"})
    assert made.settle == Duration("3s")
    assert made.timeout == DEFAULTS.timeout
    assert [(one.name, one.target, one.hold.text) for one in made.checks] == [
        ("web", "http://localhost:8080/", "2s")
    ]


def test_the_config_overrides_the_flake() -> None:
    flake = read({"checks": {"web": WEB, "unit": {"unit": "app.service"}}, "settle": "3s"})
    plain = resolve(flake)
    assert plain.activation == flake
    assert settings().activation == DEFAULTS
    over = resolve(
        flake,
        activation={"settle": "4s", "checks": {"web": {"http": "http://localhost:9090/"}}},
        host={"activation": {"confirm": "1m"}},
    )
    assert over.activation.settle == Duration("4s")
    assert over.activation.confirm == Duration("1m")
    found = checks_of(over)
    assert found["web"].target == "http://localhost:9090/"
    assert found["unit"].target == "app.service"


def test_all_problems_in_the_flake_are_one_message() -> None:
    wrong = {"checks": {"web": {"http": "ftp://x"}}, "settle": "soon", "colour": "red"}
    with pytest.raises(EvaluationError) as caught:
        read(wrong)
    lines = str(caught.value).splitlines()
    where = "nixosConfigurations.web1.config.flakeup.activation"
    assert lines[0] == "the flake's own activation of a host:"
    assert [line.partition(": ")[0] for line in lines[1:]] == [
        f"{where}.checks.web.http",
        f"{where}.colour",
        f"{where}.settle",
    ]


def test_a_conflict_with_the_flake_is_reported_once() -> None:
    flake = host_defaults.read(
        {"web1": system({"checkDeadline": "20s", "settle": "5s"})}, [host("web1")]
    )["web1"]
    with pytest.raises(ConfigError) as caught:
        resolve(flake, activation={"settle": "30s"})
    (problem,) = caught.value.problems
    assert problem.path == "activation.settle"
    assert "settle is not shorter than checkDeadline" in problem.why


def test_a_check_of_the_flake_may_need_a_release() -> None:
    flake = read({"checks": {"web": {**WEB, "contains": "{appRef}"}}})
    with pytest.raises(ConfigError, match="appRef"):
        resolve(flake)
