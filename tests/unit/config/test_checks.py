"""Health checks as values: what fills them, and what they are after it."""

from dataclasses import replace
from typing import Any

import pytest

from components.pipeline.config.checks import Check, CheckKind, CheckOrigin
from components.pipeline.config.stack import Activation, parse
from components.pipeline.errors import ConfigError
from components.pipeline.values import Duration
from tests.unit.config.config_cases import VALID

VALUES = {
    "address": "10.0.0.5",
    "name": "web1",
    "appRef": "feature/a+b",
    "appRev": "8c1d6f0b7a2e94d35c60f1e2b8a97d4c3e5f6071",
    "toplevel": "/nix/store/0c1d6f0b7a2a94d35c60f1a2b8a97d4c-nixos-system-web1-25.11?x=1",
}
IPV6 = VALUES | {"address": "2001:db8::5"}
WEB = Check(
    name="web",
    kind=CheckKind.HTTP,
    target="http://localhost:8080/",
    origin=CheckOrigin.HOST,
    status=200,
    contains="",
    header="",
    period=Duration("1s"),
    timeout=Duration("5s"),
    retries=10,
    hold=Duration("0s"),
)


def activations(stack: dict[str, Any], host: dict[str, Any]) -> tuple[Activation, Activation]:
    """The stack's and the host's."""
    web1 = VALID["hosts"]["web1"] | {"activation": host}
    settings = parse(VALID | {"activation": stack, "hosts": {"web1": web1}})
    return settings.activation, settings.hosts[0].activation


def test_a_check_with_nothing_but_its_target() -> None:
    (check,) = activations({"checks": {"web": {"http": "http://localhost:8080/"}}}, {})[0].checks
    assert check == WEB


def test_a_hosts_checks_override_the_stacks_by_name() -> None:
    stack, host = activations(
        {
            "settle": "0s",
            "keepGenerations": 5,
            "checks": {
                "web": {"http": "http://localhost:8080/", "status": 204, "retries": 3},
                "app": {"unit": "app.service"},
            },
        },
        {
            "mode": "boot",
            "keepGenerations": "7",
            "checks": {"web": {"tcp": "{address}:80"}, "db": {"command": "true"}},
        },
    )
    assert [(check.name, check.kind) for check in stack.checks] == [
        ("app", CheckKind.UNIT),
        ("web", CheckKind.HTTP),
    ]
    app, _ = stack.checks
    assert host.checks == (
        app,
        replace(WEB, name="db", kind=CheckKind.COMMAND, target="true"),
        replace(WEB, kind=CheckKind.TCP, target="{address}:80"),
    )
    assert (stack.mode, host.mode) == ("switch", "boot")
    assert (stack.keep_generations, host.keep_generations) == (5, 7)
    assert stack.settle.seconds == host.settle.seconds == 0


def test_disabled_hosts_are_listed_apart_with_all_their_settings() -> None:
    other = VALID["hosts"]["web1"] | {"address": "10.0.0.6"}
    hosts = {
        "web3": other | {"address": "10.0.0.7", "enabled": "false"},
        "web2": other | {"enabled": False, "port": 2222},
        "web1": VALID["hosts"]["web1"] | {"enabled": True},
    }
    settings = parse(VALID | {"hosts": hosts})
    assert [host.name for host in settings.hosts] == ["web1"]
    assert [(host.name, host.port) for host in settings.disabled] == [("web2", 2222), ("web3", 22)]


def test_a_disabled_host_needs_no_release_for_its_checks() -> None:
    web1 = VALID["hosts"]["web1"]
    checks = {"checks": {"web": {"command": "test {appRef}"}}}
    hosts = {
        "web1": web1,
        "web2": web1 | {"address": "10.0.0.6", "enabled": False, "activation": checks},
    }
    assert parse({"hosts": hosts}).disabled[0].activation.checks[0].name == "web"
    with pytest.raises(ConfigError, match=r"is required for \{appRef\} in the check web of web2"):
        parse({"hosts": hosts | {"web2": hosts["web2"] | {"enabled": True}}})


@pytest.mark.parametrize(
    ("check", "values", "target"),
    [
        (replace(WEB, target="http://{address}:80/"), VALUES, "http://10.0.0.5:80/"),
        (replace(WEB, target="http://{address}:80/"), IPV6, "http://[2001:db8::5]:80/"),
        (replace(WEB, target="https://{name}/"), VALUES, "https://web1/"),
        # In a url `+` is a space and `?` begins the query, unless they are written so.
        (replace(WEB, target="http://a/?v={appRef}"), VALUES, "http://a/?v=feature/a%2Bb"),
        (
            replace(WEB, target="http://a{toplevel}"),
            VALUES,
            "http://a/nix/store/0c1d6f0b7a2a94d35c60f1a2b8a97d4c-nixos-system-web1-25.11%3Fx%3D1",
        ),
        (replace(WEB, kind=CheckKind.TCP, target="{address}:22"), VALUES, "10.0.0.5:22"),
        (replace(WEB, kind=CheckKind.TCP, target="{address}:22"), IPV6, "[2001:db8::5]:22"),
        (
            replace(WEB, kind=CheckKind.COMMAND, target="test ${{x}} = {address} {appRef}"),
            IPV6,
            "test ${x} = 2001:db8::5 feature/a+b",
        ),
        (
            replace(WEB, kind=CheckKind.COMMAND, target="{{{name}}} {{name}}"),
            VALUES,
            "{web1} {name}",
        ),
        (replace(WEB, kind=CheckKind.UNIT, target="app.service"), {}, "app.service"),
    ],
)
def test_placeholders_of_a_target(check: Check, values: dict[str, str], target: str) -> None:
    assert check.filled(values) == replace(check, target=target)


def test_placeholders_in_contains_and_header() -> None:
    check = replace(WEB, contains='{{"app": "{appRef}"}}', header="X-Host: {name} {address}")
    filled = check.filled(IPV6)
    assert filled.contains == '{"app": "feature/a+b"}'
    assert filled.header == "X-Host: web1 2001:db8::5"
    assert check.placeholders == {"appRef", "name", "address"}


def test_braces_in_a_value_are_not_a_placeholder() -> None:
    check = replace(WEB, kind=CheckKind.COMMAND, target="echo {appRef}")
    assert check.filled({"appRef": "{name}", "name": "web1"}).target == "echo {name}"


def test_a_placeholder_without_a_value_is_an_error() -> None:
    with pytest.raises(KeyError, match="appRev"):
        replace(WEB, contains="{appRev}").filled({"name": "web1"})
