"""The spec of an attempt, as text and as the runner reads it."""

import re
import subprocess
from dataclasses import replace
from pathlib import PurePosixPath

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from components.pipeline.activation import runner
from components.pipeline.activation.request import SEPARATOR, TEXT_LIMIT, AttemptRequest
from components.pipeline.config.activation import Activation, Mode
from components.pipeline.config.checks import CheckKind, CheckOrigin
from components.pipeline.transport.ssh import Ssh
from components.pipeline.transport.ssh_files import SshFiles
from components.pipeline.values import Duration
from tests.unit.hosts import check, host, toplevel

IDENTITY = SshFiles(known_hosts=PurePosixPath("known_hosts"), key=None)
TIMES = Activation(
    timeout=Duration("11m"),
    settle=Duration("12s"),
    check_deadline=Duration("13s"),
    confirm=Duration("14s"),
    commit=Duration("15s"),
    mode=Mode.BOOT,
    keep_generations=16,
    reboot_on_failed_rollback=True,
)
WEB = check("web", contains="v1 is up", header="X-Release: v1", retries=3)
UNIT = check("unit", kind=CheckKind.UNIT, target="app.service")
OUTSIDE = check("outside", target="http://192.0.2.10/", origin=CheckOrigin.DEPLOYER)


def test_text() -> None:
    spec = AttemptRequest(
        activation=TIMES,
        checks=(OUTSIDE, UNIT, WEB),
        by="me@laptop (pid 7)",
        release="appRef v1, flake ./flake",
        stack="acme/flakeup/prod",
    )
    assert spec.text.decode().splitlines() == [
        "mode boot",
        "timeout 660",
        "settle 12",
        "deadline 13",
        "confirm 14",
        "commit 15",
        "keep 16",
        "reboot yes",
        "mayFail ",
        "output yes",
        "by me@laptop (pid 7)",
        "release appRef v1, flake ./flake",
        "stack acme/flakeup/prod",
        "check\x1funit\x1funit\x1fapp.service\x1f200\x1f\x1f\x1f1\x1f5\x1f0\x1f0",
        "check|web|http|http://localhost:8080/|200|v1 is up|X-Release: v1|1|5|3|0".replace(
            "|", SEPARATOR
        ),
        "end",
    ]
    assert spec.text.endswith(b"\n")


def test_defaults() -> None:
    assert AttemptRequest(activation=Activation()).text.decode() == (
        "mode switch\ntimeout 600\nsettle 10\ndeadline 120\nconfirm 120\ncommit 60\nkeep 0\n"
        "reboot no\nmayFail \noutput yes\nby unknown\nrelease \nstack \nend\n"
    )


def test_checks_from() -> None:
    spec = AttemptRequest(activation=TIMES, checks=(OUTSIDE, UNIT, WEB))
    assert spec.checks_from(CheckOrigin.DEPLOYER) == (OUTSIDE,)
    assert spec.checks_from(CheckOrigin.HOST) == (UNIT, WEB)


def test_the_checks_placeholders_are_filled() -> None:
    named = check("web", target="http://{address}/{name}", contains="{appRef} {toplevel}")
    new = toplevel("b").path
    spec = AttemptRequest.of(
        Ssh.of(host(activation=Activation(checks=(named,))), IDENTITY),
        by="me",
        release="v1",
        values={"appRef": "v1", "appRev": "", "toplevel": new},
    )
    (filled,) = spec.checks
    assert (filled.target, filled.contains) == ("http://192.0.2.10/web1", f"v1 {new}")
    assert (spec.by, spec.release) == ("me", "v1")


# --- read by functions of the runner, taken from the script ---------------------------------


def function(name: str) -> str:
    found = re.search(rf"^{name}\(\) \{{.*?^\}}$", runner.text().decode(), re.DOTALL | re.MULTILINE)
    assert found, f"the runner has no {name}"
    return found[0]


def line_of(pattern: str) -> str:
    found = re.search(f"(?m){pattern}", runner.text().decode())
    assert found, f"the runner has no line {pattern}"
    return found[0]


KEYS = (
    "timeout",
    "settle",
    "deadline",
    "confirm",
    "bound",
    "keep",
    "mode",
    "reboot",
    "by",
    "may_fail",
    "output",
)
QUIET = replace(TIMES, may_fail=("fetch-*.service", r"mnt-a\x2db.mount"), show_output=False)
FIELDS = line_of(r"^    while IFS=\$US read -r word name .*; do$").split(" word ")[1][:-4].split()
READER = "\n".join(
    [
        line_of(r"^US=.*$"),
        function("is_number"),
        function("read_spec"),
        "spec=$(cat)",
        "read_spec <<END\n$spec\nEND",
        *(f"printf '%s\\n' \"${key}\"" for key in KEYS),
        "number=0",
        line_of(r"^    while IFS=\$US read -r word name .*$"),
        '[ "$word" = check ] || continue; number=$((number + 1))',
        *(f"printf '%s\\n' \"${field}\"" for field in FIELDS),
        "done <<END\n$spec\nEND",
    ]
)


def read(spec: AttemptRequest, shell: str = "sh") -> tuple[dict[str, str], list[dict[str, str]]]:
    """The settings and checks that a shell reads from the spec."""
    done = subprocess.run((shell, "-c", READER), input=spec.text, capture_output=True, check=True)
    assert done.stderr == b""
    lines = done.stdout.decode().removesuffix("\n").split("\n")
    found, rest = dict(zip(KEYS, lines, strict=False)), lines[len(KEYS) :]
    size = len(FIELDS)
    return found, [
        dict(zip(FIELDS, rest[start : start + size], strict=True))
        for start in range(0, len(rest), size)
    ]


@pytest.mark.parametrize("shell", ["sh", "bash"])
def test_the_runner_reads_the_same_values(shell: str) -> None:
    settings, checks = read(
        AttemptRequest(activation=QUIET, checks=(OUTSIDE, UNIT, WEB), by="me (pid 7)"), shell
    )
    assert settings == {
        "timeout": "660",
        "settle": "12",
        "deadline": "13",
        "confirm": "14",
        "bound": "15",
        "keep": "16",
        "reboot": "yes",
        "mode": "boot",
        "by": "me (pid 7)",
        "may_fail": r"fetch-*.service mnt-a\x2db.mount",
        "output": "no",
    }
    assert [one["name"] for one in checks] == ["unit", "web"]
    assert checks[0] == {
        "name": "unit",
        "kind": "unit",
        "target": "app.service",
        "status": "200",
        "contains": "",
        "header": "",
        "period": "1",
        "limit": "5",
        "retries": "0",
        "hold": "0",
    }
    assert checks[1] == checks[0] | {
        "name": "web",
        "kind": "http",
        "target": "http://localhost:8080/",
        "contains": "v1 is up",
        "header": "X-Release: v1",
        "retries": "3",
    }


FORGED = (
    "me\ntimeout 1",
    "me\rmode boot",
    f"me\ncheck{SEPARATOR}x{SEPARATOR}command{SEPARATOR}reboot",
    "me\x85settle 0",
    "me\u2028keep 1",
    "me\x00\nkeep 1",
    "\n\n\n",
)


@pytest.mark.parametrize("text", FORGED)
def test_a_text_cannot_add_a_line(text: str) -> None:
    plain = AttemptRequest(activation=TIMES, checks=(WEB,))
    forged = AttemptRequest(activation=TIMES, checks=(WEB,), by=text, release=text)
    assert len(forged.text.splitlines()) == len(plain.text.splitlines())
    before, after = read(plain), read(forged)
    assert after[1] == before[1]
    assert {**after[0], "by": ""} == {**before[0], "by": ""}


@examples(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.text(max_size=400), st.text(max_size=400))
def test_no_text_can_add_a_line(by: str, release: str) -> None:
    forged = AttemptRequest(activation=TIMES, checks=(WEB,), by=by, release=release)
    lines = forged.text.decode().split("\n")
    assert len(lines) == 16
    assert all(line.isprintable() for line in lines[:13])
    assert all(len(line) <= TEXT_LIMIT + len("release ") for line in lines[:13])
    settings, checks = read(forged)
    assert [one["name"] for one in checks] == ["web"]
    assert settings["timeout"] == "660"
    assert settings["mode"] == "boot"


ERROR_SHOWN = st.text(
    st.characters(exclude_categories=("C", "Z"), include_characters=" "), min_size=1, max_size=40
)


@examples(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(ERROR_SHOWN, ERROR_SHOWN, ERROR_SHOWN)
def test_any_text_of_a_check_arrives(target: str, contains: str, header: str) -> None:
    """Quotes, blanks at the ends, `$` and `\\` are text: the config lets control alone not in."""
    one = check(kind=CheckKind.COMMAND, target=target, contains=contains, header=header)
    _, (found,) = read(AttemptRequest(activation=TIMES, checks=(one,)))
    assert (found["target"], found["contains"], found["header"]) == (target, contains, header)
