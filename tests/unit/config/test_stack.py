"""The config of a stack: what is accepted, and the whole message for what is not."""

import copy
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from components.pipeline.config.activation import ACTIVATION, Mode
from components.pipeline.config.checks import CHECK, Check, CheckKind, CheckOrigin
from components.pipeline.config.hosts import HOST
from components.pipeline.config.rollout import ROLLOUT, Rollout
from components.pipeline.config.section import Repeated
from components.pipeline.config.stack import (
    STACK,
    Activation,
    HostSpec,
    Observe,
    Settings,
    parse,
)
from components.pipeline.errors import ConfigError, Problem
from components.pipeline.values import (
    Attr,
    Duration,
    FlakeKind,
    FlakeUrl,
    HostAddress,
    HostKey,
    Ref,
    Rev,
    UserName,
)
from tests.unit.config.config_cases import VALID, Case, cases

ROOT = Path(__file__).parents[3]
KEY = VALID["hosts"]["web1"]["hostKey"]


def problems(raw: dict[str, Any], **options: Any) -> tuple[Problem, ...]:
    with pytest.raises(ConfigError) as caught:
        parse(raw, **options)
    return caught.value.problems


@pytest.mark.parametrize("case", list(cases()), ids=lambda case: case.name)
def test_each_case_is_accepted_or_gives_its_whole_message(case: Case) -> None:
    if not case.messages:
        parse(case.raw, secret_keys=case.secret_keys)
        return
    count = len(case.messages)
    head = f"{count} problem{'s' if count > 1 else ''} in the config of stack prod"
    with pytest.raises(ConfigError) as caught:
        parse(case.raw, secret_keys=case.secret_keys, stack="prod")
    assert str(caught.value) == "\n".join([head, *case.messages])


def test_a_minimal_config_has_the_documented_defaults() -> None:
    activation = Activation(
        timeout=Duration("10m"),
        settle=Duration("10s"),
        check_deadline=Duration("2m"),
        confirm=Duration("2m"),
        commit=Duration("1m"),
        call=Duration("30s"),
        mode=Mode.SWITCH,
        keep_generations=None,
        checks=(),
    )
    web1 = HostSpec(
        name="web1",
        address=HostAddress("10.0.0.5"),
        host_key=HostKey(KEY),
        port=22,
        user=UserName("root"),
        attr=Attr("web1"),
        app_ref=None,
        activation=activation,
        substitute=True,
    )
    assert parse({"hosts": {"web1": {"address": "10.0.0.5", "hostKey": KEY}}}) == Settings(
        flake=FlakeUrl(kind=FlakeKind.FOLDER, base="flake"),
        flake_ref=None,
        app_input="app",
        app_ref=None,
        app_rev=None,
        hosts=(web1,),
        disabled=(),
        ssh_key=None,
        activation=activation,
        rollout=Rollout(canary=1, waves=(), max_parallel=None),
        observe=Observe.AUTO,
    )
    assert Activation() == activation


def test_the_production_stack() -> None:
    settings = parse(stack_file("prod"))
    assert settings.app_ref == Ref("v2.1.0")
    assert settings.app_rev == Rev("8c1d6f0b7a2e94d35c60f1e2b8a97d4c3e5f6071")
    assert [host.name for host in settings.hosts] == ["db1", "web1", "web2", "web3"]
    db1, web1, _, web3 = settings.hosts
    assert (db1.app_ref, web1.app_ref) == (Ref("v2.0.9"), Ref("v2.1.0"))
    assert web3.endpoint
    assert web3.endpoint.address.text == "2001:db8::13"
    assert (web3.port, web3.substitute) == (2222, False)
    assert (
        web1.activation
        == settings.activation
        == Activation(settle=Duration("15s"), keep_generations=10, checks=(APP,))
    )
    assert db1.activation == Activation(
        timeout=Duration("30m"),
        check_deadline=Duration("5m"),
        settle=Duration("15s"),
        keep_generations=10,
        checks=(APP, POSTGRESQL),
    )
    assert settings.rollout == Rollout(canary="web1", waves=(2, 100))


APP = Check(
    name="app",
    kind=CheckKind.HTTP,
    target="http://{address}:8080/",
    origin=CheckOrigin.DEPLOYER,
    status=200,
    contains="app {appRef}",
    header="",
    period=Duration("1s"),
    timeout=Duration("5s"),
    retries=10,
    hold=Duration("0s"),
)
POSTGRESQL = replace(
    APP,
    name="postgresql",
    kind=CheckKind.UNIT,
    target="postgresql.service",
    origin=CheckOrigin.HOST,
    contains="",
    hold=Duration("30s"),
)


def test_the_staging_stack() -> None:
    settings = parse(stack_file("staging"))
    assert settings.flake == FlakeUrl(
        kind=FlakeKind.GIT, base="git+ssh://git@git.example.org/infra/hosts.git", dir="nixos"
    )
    assert settings.flake_ref == settings.app_ref == Ref("main")
    assert [(host.attr.text, host.user.text) for host in settings.hosts] == [
        ("staging-db", "deploy"),
        ("staging-web", "deploy"),
    ]


def test_the_demo_stack() -> None:
    settings = parse(stack_file("dev"))
    assert [host.name for host in settings.hosts] == ["web1", "web2"]
    assert settings.flake == FlakeUrl(kind=FlakeKind.FOLDER, base="flake")
    assert settings.app_ref == Ref("v1")
    (check,) = settings.activation.checks
    demo = {"name": "web1", "address": "10.0.0.11", "appRef": "v1"}
    assert check.filled(demo).contains == "app v1 on web1"


def stack_file(stack: str) -> dict[str, Any]:
    config = yaml.safe_load((ROOT / f"Pulumi.{stack}.yaml").read_text())["config"]
    return {key.removeprefix("flakeup:"): value for key, value in config.items()}


PLACES = [
    *((key.name,) for key in STACK.keys),
    *(("hosts", "web1", key.name) for key in HOST.keys),
    *(("activation", key.name) for key in ACTIVATION.keys),
    *(("activation", "checks", "web", key.name) for key in CHECK.keys),
    *(("hosts", "web1", "activation", "checks", "web", key.name) for key in CHECK.keys),
    *(("rollout", key.name) for key in ROLLOUT.keys),
]


def put(place: tuple[str, ...], value: object) -> dict[str, Any]:
    raw: dict[str, Any] = copy.deepcopy(VALID)
    parent = raw
    for name in place[:-1]:
        parent = parent.setdefault(name, {})
    parent[place[-1]] = value
    return raw


@pytest.mark.parametrize("place", PLACES, ids=".".join)
def test_each_declared_key_is_read(place: tuple[str, ...]) -> None:
    """A key that is in the documentation and that nobody reads would be accepted in silence."""
    found = problems(put(place, [[]]), secret_keys=frozenset({"sshKey"}))
    path = ".".join(place)
    assert {problem.path for problem in found} & {path, f"{path}[0]"}


def test_problems_are_sorted_by_path_and_counted() -> None:
    raw = {"zzz": "1", "appRef": "-x", "hosts": {"b": {}, "a": {}}}
    with pytest.raises(ConfigError) as caught:
        parse(raw, project="acme", stack="prod")
    assert [problem.path for problem in caught.value.problems] == [
        "appRef",
        "hosts.a.address",
        "hosts.a.hostKey",
        "hosts.b.address",
        "hosts.b.hostKey",
        "zzz",
    ]
    lines = str(caught.value).splitlines()
    assert lines[0] == "6 problems in the config of stack prod"
    assert all(line.startswith("config acme:") for line in lines[1:])


def test_a_repeated_host_is_refused() -> None:
    (problem,) = problems({"hosts": {"web1": Repeated()}})
    assert problem.line("flakeup") == (
        "config flakeup:hosts.web1: (more than one): is given more than once. "
        "write a map with at least address and hostKey"
    )


@pytest.mark.parametrize("form", [(), ("-m", "PEM"), ("-m", "PKCS8")])
@pytest.mark.parametrize("kind", [("ed25519",), ("ecdsa",), ("rsa", "-b", "2048")], ids=" ".join)
@pytest.mark.parametrize("passphrase", ["", "a passphrase"])
def test_private_keys_as_ssh_keygen_makes_them(
    tmp_path: Path, form: tuple[str, ...], kind: tuple[str, ...], passphrase: str
) -> None:
    file = tmp_path / "key"
    subprocess.run(
        ["ssh-keygen", "-q", "-t", *kind, *form, "-N", passphrase, "-f", file],
        check=True,
        stdin=subprocess.DEVNULL,
        timeout=60,
    )
    key = file.read_text()
    raw = {**VALID, "sshKey": key.replace("\n", "\r\n")}
    secret = frozenset({"sshKey"})
    if not passphrase:
        settings = parse(raw, secret_keys=secret)
        assert settings.ssh_key == key
        assert "PRIVATE" not in repr(settings)
        return
    (problem,) = problems(raw, secret_keys=secret)
    assert problem.line("flakeup") == (
        "config flakeup:sshKey: [secret]: has a passphrase, and nobody is there to type it. "
        "make a key without one for deployments: ssh-keygen -t ed25519 -N ''"
    )


CANARY = "Xq7ZkPw"


@given(
    place=st.sampled_from(PLACES),
    before=st.text(max_size=10),
    after=st.text(max_size=10),
    shape=st.sampled_from([lambda text: text, lambda text: [text], lambda text: {"key": text}]),
)
def test_no_part_of_a_secret_is_in_a_message(
    place: tuple[str, ...], before: str, after: str, shape: Any
) -> None:
    raw = put(place, shape(before + CANARY + after))
    try:
        parse(raw, secret_keys=frozenset({place[0]}))
    except ConfigError as error:
        assert CANARY not in str(error)  # noqa: PT017 most of them are refused, some are not


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.text() | st.sampled_from(["web1", "address"]), inner)
    ),
    max_leaves=20,
)


@examples(  # on a busy machine
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
@given(raw=st.dictionaries(st.text() | st.sampled_from([key.name for key in STACK.keys]), JSON))
def test_whatever_json_comes_is_settings_or_a_printable_message(raw: dict[str, object]) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(raw)
    assert all(line.isprintable() for line in str(caught.value).split("\n"))


TRIPWIRES = """
import json, sys
from components.pipeline.errors import ConfigError
from components.pipeline.config.stack import parse

tripped = []
WATCHED = ("subprocess.", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.system",
           "socket.", "open", "os.listdir", "os.scandir")

def watch(event, arguments):
    if event.startswith(WATCHED):
        tripped.append(f"{event} {arguments}")

given = json.load(sys.stdin)
counts = {"accepted": 0, "refused": 0}
"\\x1b".encode("unicode_escape")  # loads a codec
sys.addaudithook(watch)
for case in given:
    try:
        parse(case["raw"], secret_keys=frozenset(case["secret"]))
        counts["accepted"] += 1
    except ConfigError:
        counts["refused"] += 1
seen, tripped = tripped, []
open("/dev/null").close()  # the wire itself works
print(json.dumps({**counts, "seen": seen, "control": len(tripped)}))
"""


def test_parsing_touches_no_process_socket_or_file() -> None:
    """All cases in a process of its own, since an audit hook cannot be taken away."""
    known = list(cases())
    given = [{"raw": case.raw, "secret": sorted(case.secret_keys)} for case in known]
    done = subprocess.run(
        [sys.executable, "-c", TRIPWIRES],
        cwd=ROOT,
        input=json.dumps(given),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    refused = sum(1 for case in known if case.messages)
    assert json.loads(done.stdout) == {
        "accepted": len(known) - refused,
        "refused": refused,
        "seen": [],
        "control": 1,
    }
