"""The `command` plugin under the real engine, with the Python SDK: what a user sees.

Runs against the stand-in, or against the binary that FLAKEUP_COMMAND_PLUGIN names.
"""

from __future__ import annotations

import json
import os
import signal
import time
from typing import TYPE_CHECKING

import pytest

from harness.daemons.engine_stack import Stack, missing_engine
from harness.daemons.sshd import Sshd, make_key, missing, public_key
from harness.ports import free_port
from harness.providers.command_driver import STAND_IN, is_stand_in, plugin_path

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from harness.providers.plugin_driver import Json

VERSION = "1.2.1"
_PROGRAM = """\
import json, pathlib, pulumi
from pulumi_command import local, remote

kinds = {"local": local.Command, "remote": remote.Command}
for name, spec in json.loads(pathlib.Path("resources.json").read_text()).items():
    timeouts = pulumi.CustomTimeouts(**spec.pop("timeouts", {}))
    opts = pulumi.ResourceOptions(custom_timeouts=timeouts)
    made = kinds[spec.pop("kind")](name, **spec, opts=opts)
    pulumi.export(name, made.stdout)
"""


_reason = missing_engine()
pytestmark = [pytest.mark.contract, pytest.mark.skipif(bool(_reason), reason=_reason or "never")]
needs_sshd = pytest.mark.skipif(bool(missing()), reason=missing() or "never")


@pytest.fixture
def stack(tmp_path: Path) -> Stack:
    made = Stack(folder=tmp_path / "project")
    made.folder.mkdir()
    made.install_plugin(plugin_path(), STAND_IN, VERSION)
    made.init(_PROGRAM)
    return made


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    with Sshd.start(tmp_path_factory.mktemp("sshd")) as running:
        yield running


def remote(server: Sshd, text: str, **changes: Json) -> Json:
    """The arguments of a remote command; `changes` apply to the connection."""
    connection = {
        "host": "127.0.0.1",
        "port": server.port,
        "user": server.user,
        "private_key": server.client_key_text,
        "host_key": server.host_key_line,
        "dial_error_limit": 1,
        **changes,
    }
    return {"kind": "remote", "create": text, "connection": connection}


def test_the_life_of_a_command(stack: Stack, tmp_path: Path) -> None:
    log = tmp_path / "log"
    stack.resources = {"it": {"kind": "local", "create": f"echo create | tee -a {log}"}}
    # The preview runs nothing.
    assert stack.preview() == {"it": "create"}
    assert not log.exists()
    assert stack.up().code == 0
    assert stack.outputs() == {"it": "create"}
    # A second `up` changes nothing, and a refresh finds no drift.
    assert stack.preview() == {}
    assert stack.up().code == 0
    stack.run_ok("refresh", "--yes", "--skip-preview")
    assert stack.preview() == {}
    assert log.read_text() == "create\n"
    # Any changed input runs `update`, even one that `update` does not use.
    stack.resources["it"] |= {"update": f"echo update >> {log}", "environment": {"A": "b"}}
    assert stack.preview() == {"it": "update"}
    assert stack.up().code == 0
    assert stack.preview() == {}
    # Triggers replace: `create` for the new resource, then `delete` for the old one.
    stack.resources["it"] |= {"delete": f"echo delete >> {log}"}
    assert stack.up().code == 0
    stack.resources["it"] |= {"triggers": ["a"]}
    assert stack.preview()["it"] in {"create-replacement", "replace"}
    assert stack.up().code == 0
    stack.resources["it"] |= {"triggers": ["b"]}
    assert stack.up().code == 0
    stack.run_ok("destroy", "--yes", "--skip-preview")
    words = "create update update create delete create delete delete"
    assert log.read_text().split() == words.split()


def test_a_failed_create_records_nothing_and_shows_all_output(stack: Stack, tmp_path: Path) -> None:
    text = f"echo seen; echo tried >> {tmp_path}/log; [ -e {tmp_path}/ok ]"
    stack.resources = {"it": {"kind": "local", "create": text}}
    result = stack.up()
    assert result.code != 0
    assert "exit status 1: running" in result.text
    assert text.partition(";")[0] in result.text
    assert "Unexpected <class" not in result.text  # how Python would print it
    assert stack.resources_in_state() == {}
    assert stack.preview() == {"it": "create"}
    (tmp_path / "ok").touch()
    assert stack.up().code == 0
    assert (tmp_path / "log").read_text() == "tried\ntried\n"


@needs_sshd
def test_a_failed_update_keeps_the_prior_state(stack: Stack, server: Sshd, tmp_path: Path) -> None:
    stack.resources = {"it": remote(server, "echo one")}
    assert stack.up().code == 0
    stack.resources = {"it": remote(server, f"echo two; [ -e {tmp_path}/ok ]")}
    result = stack.up()
    assert result.code != 0
    assert "Process exited with status 1: running" in result.text
    stored = stack.resources_in_state()["it"]
    assert stored["outputs"]["stdout"] == "one"
    assert stored["outputs"]["create"] == "echo one"
    # The next preview shows the same update, and the next `up` converges.
    assert stack.preview() == {"it": "update"}
    (tmp_path / "ok").touch()
    assert stack.up().code == 0
    assert stack.outputs() == {"it": "two"}


@needs_sshd
def test_connections_are_secret_in_state_and_output(stack: Stack, server: Sshd) -> None:
    stack.resources = {"it": remote(server, "echo in")}
    result = stack.up()
    assert result.code == 0
    line = server.client_key_text.splitlines()[1]
    stored = stack.resources_in_state()["it"]
    for place in ("inputs", "outputs"):
        assert "ciphertext" in stored[place]["connection"]
    assert stored["outputs"]["stdout"] == "in"
    assert line not in json.dumps(stored)
    assert line not in result.text
    assert line not in stack.run_ok("preview", "--diff")


@needs_sshd
def test_a_wrong_host_key_fails_and_runs_nothing(
    stack: Stack, server: Sshd, tmp_path: Path
) -> None:
    other = public_key(make_key(tmp_path / "other"))
    stack.resources = {"it": remote(server, f"touch {tmp_path}/ran", host_key=other)}
    # A preview does not connect, so it does not notice.
    assert stack.preview() == {"it": "create"}
    result = stack.up()
    assert result.code != 0
    assert "after 1 failed attempts: ssh: handshake failed: ssh: host key mismatch" in result.text
    assert not (tmp_path / "ran").exists()


@needs_sshd
def test_many_hosts_at_once(stack: Stack, server: Sshd) -> None:
    stack.resources = {f"h{number}": remote(server, "sleep 2; echo in") for number in range(24)}
    started = time.monotonic()
    assert stack.up().code == 0
    assert time.monotonic() - started < 40  # one after another, they take at least 48 s
    assert stack.outputs() == {f"h{number}": "in" for number in range(24)}
    assert stack.preview() == {}


@needs_sshd
def test_a_custom_timeout_limits_dialling(stack: Stack, server: Sshd) -> None:
    given = remote(server, "true", port=free_port(), dial_error_limit=-1)
    stack.resources = {"it": given | {"timeouts": {"create": "2s"}}}
    result = stack.up()
    assert result.code != 0
    assert "context deadline exceeded" in result.text


@needs_sshd
def test_ctrl_c_stops_dialling_and_lets_a_running_command_finish(
    stack: Stack, server: Sshd, tmp_path: Path
) -> None:
    running = f"touch {tmp_path}/on; sleep 4; echo end"
    stack.resources = {
        "dials": remote(server, "true", port=free_port(), dial_error_limit=-1),
        "runs": remote(server, running),
    }
    process = stack.start("up", "--yes", "--skip-preview")
    try:
        deadline = time.monotonic() + 60
        while not (tmp_path / "on").exists() and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        os.kill(process.pid, signal.SIGINT)
        text, _ = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode != 0
    assert "context canceled" in text
    stored = stack.resources_in_state()
    assert stored.keys() == {"runs"}
    assert stored["runs"]["outputs"]["stdout"] == "end"


@needs_sshd
@pytest.mark.skipif(is_stand_in(), reason="FLAKEUP_COMMAND_PLUGIN names no released plugin")
def test_a_stack_can_switch_between_the_released_plugin_and_the_stand_in(
    stack: Stack, server: Sshd
) -> None:
    stack.resources = {
        "far": remote(server, "echo far") | {"triggers": [1, {"a": ["b"]}], "stdin": "x"},
        "near": {"kind": "local", "create": "echo near", "environment": {"A": "b"}},
    }
    assert stack.up().code == 0
    stack.install_plugin(STAND_IN, STAND_IN, VERSION)
    assert stack.preview() == {}
    stack.resources["far"]["stdin"] = "y"
    assert stack.preview() == {"far": "update"}
    assert stack.up().code == 0
    stack.install_plugin(plugin_path(), STAND_IN, VERSION)
    assert stack.preview() == {}
    stack.run_ok("destroy", "--yes", "--skip-preview")
