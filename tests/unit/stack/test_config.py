"""Reading Pulumi's config: which keys are read, how they are decoded, which are secret.

Run in a process of its own with the environment that the engine gives a program: Pulumi keeps
project, stack and config in globals.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAII37QsfaC6TZC04ULDxkqO8IB9/KJvwLWbiP2ORl634Q"
HOSTS = {"web1": {"address": "10.0.0.5", "hostKey": KEY}}
PROGRAM = """
import pulumi
from components.pipeline.errors import ConfigError
from components.stack.config import load

pulumi.runtime.configure(pulumi.runtime.Settings(project="acme", stack="prod"))
try:
    print(load())
except ConfigError as error:
    print(error)
"""


def load(config: dict[str, Any], secret: tuple[str, ...] = (), folder: Path = ROOT) -> str:
    texts = {
        key: value if isinstance(value, str) else json.dumps(value) for key, value in config.items()
    }
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM],
        cwd=folder,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "PULUMI_CONFIG": json.dumps(texts),
            "PULUMI_CONFIG_SECRET_KEYS": json.dumps(secret),
        },
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return done.stdout


def test_the_projects_own_namespace_is_read_and_no_other() -> None:
    out = load(
        {
            "acme:appRef": "v2",
            "acme:hosts": HOSTS,
            "acme:activation": {"checkDeadline": "3m"},
            "acme:rollout": {"canary": 0, "waves": [2, 5]},
            "aws:region": "eu-central-1",
            "flakeup:appRef": "-x",
            "pulumi:tags": {"a": "b"},
        }
    )
    assert out.startswith("Settings(")
    assert "flake=FlakeUrl(" in out
    assert "app_ref=Ref(text='v2')" in out
    assert "check_deadline=Duration(text='3m')" in out
    assert "rollout=Rollout(canary=0, waves=(2, 5), max_parallel=None)" in out
    assert "name='web1'" in out


def test_unknown_keys_and_invalid_json_are_problems() -> None:
    out = load({"acme:apRef": "v2", "acme:hosts": '{"web1": {', "acme:activation": "[" * 10**5})
    assert out.splitlines() == [
        "3 problems in the config of stack prod",
        (
            'config acme:activation: "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[…": '
            "is text, not a map. write a map, such as activation: {checkDeadline: 2m}"
        ),
        'config acme:apRef: "v2": is not a key that flakeup knows. write appRef',
        (
            'config acme:hosts: "{"web1": {": is text, not a map. '
            "write at least one host as a map: hosts: {web1: {address: ..., hostKey: ...}}"
        ),
    ]


def test_a_repeated_host_in_the_json_is_a_problem() -> None:
    one = json.dumps(HOSTS["web1"])
    out = load({"acme:hosts": f'{{"web1": {one}, "web1": {one}}}'})
    assert out.splitlines() == [
        "1 problem in the config of stack prod",
        (
            "config acme:hosts.web1: (more than one): is given more than once. "
            "write a map with at least address and hostKey"
        ),
    ]


def test_secrets_are_known_and_never_shown() -> None:
    """The second half is the control: the same values are shown if they are not secret."""
    config = {"acme:appRef": "hunter2;", "acme:hosts": {"web1": {**HOSTS["web1"], "user": "Hun"}}}
    hidden = load(config, ("acme:appRef", "acme:hosts", "other:observe"))
    assert hidden.splitlines() == [
        "2 problems in the config of stack prod",
        (
            "config acme:appRef: [secret]: has a character that is not allowed here. "
            "write a tag, a branch, refs/... or a full commit id, such as v2.1.0"
        ),
        (
            "config acme:hosts.web1.user: [secret]: has a character that is not allowed here. "
            "write root, or a user with passwordless sudo"
        ),
    ]
    clear = load(config)
    assert '"hunter2;"' in clear
    assert '"Hun"' in clear


def test_the_ssh_key_must_be_a_secret() -> None:
    key = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2Vw\n-----END PRIVATE KEY-----\n"
    config = {"acme:sshKey": key, "acme:hosts": HOSTS}
    assert load(config).splitlines() == [
        "1 problem in the config of stack prod",
        (
            "config acme:sshKey: [secret]: is in clear text. "
            "run: pulumi config set --secret sshKey < KEY_FILE"
        ),
    ]
    accepted = load(config, ("acme:sshKey",))
    assert accepted.startswith("Settings(")
    assert "PRIVATE KEY" not in accepted


def test_a_services_secret_must_be_encrypted_in_the_file(tmp_path: Path) -> None:
    """The engine says no more than that there is one somewhere in the map."""
    secrets = {"TOKEN": "hunter2", "PIN": "1234", "PLAIN": "hunter3"}
    config = {"acme:services": {"app": {"image": "app-image", "secrets": secrets}}}
    written = """
    config:
      acme:services:
        app:
          image: app-image
          secrets: {TOKEN: {secure: v1:abc}, PIN: 1234, PLAIN: hunter3, OTHER: hunter2}
    """
    (tmp_path / "Pulumi.prod.yaml").write_text(written)
    place = "config acme:services.app.secrets: [secret]: has"
    run = "which is in clear text. run: pulumi config set --secret --path services.app.secrets"
    assert load(config, ("acme:services",), tmp_path).splitlines() == [
        "2 problems in the config of stack prod",
        f"{place} PIN, {run}.PIN",
        f"{place} PLAIN, {run}.PLAIN",
    ]
    # The engine has read another file, or this one is unreadable: only the engine knows.
    for text in (written.replace("hunter3", "x").replace("1234", "y"), "- no map", "{"):
        (tmp_path / "Pulumi.prod.yaml").write_text(text)
        out = load(config, ("acme:services",), tmp_path)
        assert out.startswith("Settings(")
        assert "hunter" not in out


FILE = """
config:
  acme:appRef: 2.10
  acme:hosts:
    01: {address: 10.0.0.5, hostKey: KEY, port: 22, user: "010"}
  acme:rollout: &one {waves: [010, 2]}
  acme:activation: {<<: *one, settle: 10s}
  observe: True
  aws:region: 010
""".replace("KEY", KEY)
PASSED: dict[str, Any] = {
    "acme:appRef": "2.1",
    "acme:hosts": {"1": {**HOSTS["web1"], "port": 22, "user": "root"}},
    "acme:rollout": {"waves": [8, 2]},
    "acme:activation": {"waves": [8, 2], "settle": "10s"},
    "acme:observe": "true",
}
MISREAD = [
    (
        "config acme:activation.waves[0]: 010: is read by YAML as 8. "
        'write "010", or 8 if that is meant'
    ),
    'config acme:appRef: 2.10: is read by YAML as 2.1. write "2.10", or 2.1 if that is meant',
    'config acme:hosts.01: 01: is a name that YAML reads as "1". write "01"',
    'config acme:observe: True: is read by YAML as true. write "True"',
    'config acme:rollout.waves[0]: 010: is read by YAML as 8. write "010", or 8 if that is meant',
]


def misread(out: str) -> list[str]:
    return [line for line in out.splitlines() if " YAML " in line]


def test_a_value_that_is_not_what_the_stacks_file_says(tmp_path: Path) -> None:
    (tmp_path / "Pulumi.prod.yaml").write_text(FILE)
    assert misread(load(PASSED, folder=tmp_path)) == MISREAD
    # Other values than those of this file: the engine has read another one.
    assert load({"acme:appRef": "v2", "acme:hosts": HOSTS}, folder=tmp_path).startswith("Settings(")


def test_what_pulumi_config_set_writes_is_accepted(tmp_path: Path) -> None:
    (tmp_path / "Pulumi.prod.yaml").write_text('config:\n  acme:appRef: "2.10"\n')
    out = load({"acme:appRef": "2.10", "acme:hosts": HOSTS}, folder=tmp_path)
    assert "app_ref=Ref(text='2.10')" in out


def test_the_other_places_of_a_stacks_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "Pulumi.prod.yaml").write_text("config:\n  acme:appRef: v1\n")
    other = tmp_path / "stacks" / "Pulumi.prod.yml"
    other.parent.mkdir()
    other.write_text(FILE)
    (tmp_path / "Pulumi.yml").write_text("name: acme\nstackConfigDir: stacks\n")
    assert misread(load(PASSED, folder=tmp_path)) == MISREAD
    (tmp_path / "Pulumi.yml").write_text("name: acme\n")
    assert not misread(load(PASSED, folder=tmp_path))
    monkeypatch.setenv("PULUMI_OPTION_CONFIG_FILE", "stacks/Pulumi.prod.yml")
    assert misread(load(PASSED, folder=tmp_path)) == MISREAD


def test_a_default_of_the_project_that_is_not_what_was_written(tmp_path: Path) -> None:
    """The stack's own value counts where it has one."""
    defaults = "acme:appRef: {value: 2.10}, appInput: {default: 010}, observe: {type: string}"
    (tmp_path / "Pulumi.yaml").write_text(f"name: acme\nconfig: {{{defaults}}}\n")
    (tmp_path / "Pulumi.prod.yaml").write_text('config:\n  appInput: "8"\n')
    passed = {"acme:appRef": "2.1", "acme:appInput": "8", "acme:hosts": HOSTS}
    assert misread(load(passed, folder=tmp_path)) == [MISREAD[1]]


def test_the_file_that_the_clis_command_line_names(tmp_path: Path) -> None:
    """The program is a grandchild of the CLI, whose folder may be another one."""
    (tmp_path / "other.yaml").write_text(FILE)
    script = 'cd "$FOLDER"; sh -c \'"$PYTHON" -W error -c "$PROGRAM"; true\'; true'
    texts = {key: v if isinstance(v, str) else json.dumps(v) for key, v in PASSED.items()}
    for words, expected in (
        (("--config-file", "other.yaml"), MISREAD),
        (("--config-file=other.yaml",), MISREAD),
        (("--config", "x"), []),
    ):
        done = subprocess.run(
            ["pulumi", "-c", script, "up", *words],
            executable="/bin/sh",
            cwd="/",
            env={
                **os.environ,
                "FOLDER": str(tmp_path),
                "PYTHON": sys.executable,
                "PROGRAM": PROGRAM,
                "PYTHONPATH": str(ROOT),
                "PULUMI_CONFIG": json.dumps(texts),
                "PULUMI_CONFIG_SECRET_KEYS": "[]",
            },
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        assert misread(done.stdout) == expected
