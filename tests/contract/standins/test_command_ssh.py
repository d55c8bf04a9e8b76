"""The `command` plugin's remote command, against a real sshd: sessions, keys, dialling.

Runs against the stand-in, or against the binary that FLAKEUP_COMMAND_PLUGIN names.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from harness.daemons.password_server import PasswordServer
from harness.daemons.sshd import Sshd, make_key, missing, public_key
from harness.ports import free_port
from harness.providers.command_driver import REMOTE, Plugin, is_stand_in
from harness.providers.plugin_driver import Json, PluginError, failing, is_secret, secret, urn

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [
    pytest.mark.contract,
    pytest.mark.skipif(bool(missing()), reason=missing() or "never"),
]
own_only = pytest.mark.skipif(not is_stand_in(), reason="the released plugin has this defect")
WORD = "open sesame"
NO_STATUS = "wait: remote command exited without exit status or exit signal: running "


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    with Sshd.start(tmp_path_factory.mktemp("sshd")) as running:
        yield running


@pytest.fixture(scope="module")
def plugin() -> Iterator[Plugin]:
    with Plugin.start() as running:
        yield running


@pytest.fixture
def fresh() -> Iterator[Plugin]:
    """A plugin for one test: Cancel is permanent, and messages are counted."""
    with Plugin.start() as running:
        yield running


def connection(server: Sshd, **changes: Json) -> Json:
    """The connection to a server; a change of None removes a setting."""
    settings = {
        "host": "127.0.0.1",
        "port": server.port,
        "user": server.user,
        "privateKey": secret(server.client_key_text),
        "hostKey": server.host_key_line,
        "dialErrorLimit": 1,
        **changes,
    }
    return {key: value for key, value in settings.items() if value is not None}


def inputs(server: Sshd, text: str, **changes: Json) -> Json:
    return {"connection": connection(server, **changes), "create": text}


# Sessions.


def test_runs_in_the_login_shell_and_records_both_outputs(plugin: Plugin, server: Sshd) -> None:
    text = "echo \"$USER\" 'a b'; printf 'e\\n\\n' >&2"
    identity, state = plugin.create(REMOTE, inputs(server, text), name="host-web1")
    assert re.fullmatch(r"host-web1[0-9a-f]{8}", identity)
    assert (state["stdout"], state["stderr"]) == (f"{server.user} a b", "e\n")
    # Secret by the schema, whatever the program does.
    assert is_secret(state["connection"])


@pytest.mark.parametrize(
    ("end", "expected"),
    [
        ("exit 3", "Process exited with status 3"),
        ("exit 255", "Process exited with status 255"),
        ("kill -9 $$", "Process exited with status 137 from signal KILL"),
        ("kill -USR1 $$", "Process exited with status 128 from signal USR1"),
    ],
)
def test_an_error_contains_status_command_and_output(
    plugin: Plugin, server: Sshd, end: str, expected: str
) -> None:
    text = f"echo out; echo err >&2; {end}"
    with pytest.raises(PluginError) as caught:
        plugin.create(REMOTE, inputs(server, text))
    head, _, output = str(caught.value).partition(f': running "{text}":\n')
    assert head == expected
    assert sorted(output.splitlines()) == ["err", "out"]


@own_only
@pytest.mark.parametrize("text", ["yes", "yes >&2", "head -c 1048577 /dev/zero"])
def test_a_flood_of_output_ends_the_command(plugin: Plugin, server: Sshd, text: str) -> None:
    with pytest.raises(PluginError) as caught:
        plugin.create(REMOTE, inputs(server, text) | {"logging": "none"})
    head, _, output = str(caught.value).partition(f': running "{text}":\n')
    assert head == "more than 1048576 bytes of output"
    assert len(output) <= 4096


def test_a_mebibyte_of_output_is_kept(plugin: Plugin, server: Sshd) -> None:
    text = "yes | head -c 1048576"
    _, state = plugin.create(REMOTE, inputs(server, text) | {"logging": "none"})
    assert len(state["stdout"]) == 1048575


def test_stdin_is_passed_and_closed(plugin: Plugin, server: Sshd) -> None:
    given = inputs(server, "cat; echo .") | {"stdin": secret("line\n" * 50_000), "logging": "none"}
    _, state = plugin.create(REMOTE, given)
    assert len(state["stdout"]) == 250_001
    assert plugin.create(REMOTE, inputs(server, "cat; echo ."))[1]["stdout"] == "."


def test_stdin_need_not_be_read(plugin: Plugin, server: Sshd) -> None:
    given = inputs(server, "echo done") | {"stdin": "x" * 100_000}
    assert plugin.create(REMOTE, given)[1]["stdout"] == "done"


def test_update_and_delete_run_on_the_host(plugin: Plugin, server: Sshd, tmp_path: Path) -> None:
    _, state = plugin.create(REMOTE, inputs(server, "echo c"))
    state = plugin.update(REMOTE, state, inputs(server, "echo c") | {"update": "echo u"})
    assert state["stdout"] == "u"
    state = plugin.update(REMOTE, state, inputs(server, "echo c2"))
    assert state["stdout"] == "c2"
    plugin.delete(REMOTE, {**state, "delete": f"touch {tmp_path}/deleted"})
    assert (tmp_path / "deleted").exists()


def test_logging_selects_the_output_that_is_shown(fresh: Plugin, server: Sshd) -> None:
    text = "echo o; sleep 0.1; printf e >&2"
    for logging in ("stdout", "stderr", "none", "stdoutAndStderr"):
        fresh.create(REMOTE, inputs(server, text) | {"logging": logging})
    messages = fresh.engine.messages
    assert [message.text for message in messages] == ["o", "e", "o", "e"]
    assert all(message.urn == urn(REMOTE) and message.ephemeral for message in messages)


@own_only
def test_a_very_long_line_does_not_hang(plugin: Plugin, server: Sshd) -> None:
    text = "head -c 300000 /dev/zero | tr '\\0' x"
    assert len(plugin.create(REMOTE, inputs(server, text))[1]["stdout"]) == 300_000


# Environment.


def test_a_refused_variable_fails_before_anything_runs(
    fresh: Plugin, server: Sshd, tmp_path: Path
) -> None:
    given = inputs(server, f"touch {tmp_path}/ran") | {"environment": {"GREETING": "x"}}
    with failing('could not set environment variable "GREETING": ssh: setenv failed'):
        fresh.create(REMOTE, given)
    assert not (tmp_path / "ran").exists()
    (message,) = fresh.engine.messages
    assert (message.severity, message.ephemeral) == ("ERROR", False)
    assert message.text.startswith("Unable to set 'GREETING'. This only works if your SSH server")


def test_refused_previous_output_is_a_warning(fresh: Plugin, server: Sshd) -> None:
    _, state = fresh.create(REMOTE, inputs(server, "echo a; echo b >&2") | {"logging": "none"})
    given = inputs(server, "echo new") | {"logging": "none"}
    assert fresh.update(REMOTE, state, given)["stdout"] == "new"
    shown = [(message.severity, message.text.split(".")[0]) for message in fresh.engine.messages]
    assert shown == [
        ("WARNING", "Unable to set 'PULUMI_COMMAND_STDOUT'"),
        ("WARNING", "Unable to set 'PULUMI_COMMAND_STDERR'"),
    ]
    fresh.engine.messages.clear()
    fresh.update(REMOTE, state, given | {"addPreviousOutputInEnv": False})
    assert fresh.messages() == []


def test_accepted_variables_arrive(plugin: Plugin, tmp_path: Path) -> None:
    with Sshd.start(tmp_path, options=("AcceptEnv GREETING PULUMI_COMMAND_*",)) as server:
        text = 'echo "$GREETING [$PULUMI_COMMAND_STDOUT]"'
        given = inputs(server, text) | {"environment": {"GREETING": "hi there"}}
        _, state = plugin.create(REMOTE, given)
        assert state["stdout"] == "hi there []"
        state = plugin.update(REMOTE, state, given)
        assert state["stdout"] == "hi there [hi there []]"


# Host keys.


def test_another_key_than_the_pinned_one_is_rejected_on_each_retry(
    fresh: Plugin, server: Sshd, tmp_path: Path
) -> None:
    other = public_key(make_key(tmp_path / "other"))
    before = server.connections()
    given = inputs(server, f"touch {tmp_path}/ran", hostKey=other, dialErrorLimit=2)
    with failing("after 2 failed attempts: ssh: handshake failed: ssh: host key mismatch"):
        fresh.create(REMOTE, given)
    assert not (tmp_path / "ran").exists()
    _wait_until(lambda: server.connections() - before == 3)
    assert fresh.messages() == ["Dial 1/2 failed: retrying", "Dial 2/2 failed: retrying"]


def test_without_a_pin_any_key_is_accepted(plugin: Plugin, server: Sshd) -> None:
    given = inputs(server, "echo in", hostKey=None)
    assert plugin.create(REMOTE, given)[1]["stdout"] == "in"


def test_a_pin_may_have_a_comment(plugin: Plugin, server: Sshd) -> None:
    given = inputs(server, "echo in", hostKey=f"# web1\n{server.host_key_line} root@web1\n")
    assert plugin.create(REMOTE, given)[1]["stdout"] == "in"


def test_an_invalid_pin_fails_without_retry(fresh: Plugin, server: Sshd) -> None:
    with failing("failed to parse host key: ssh: no key found"):
        fresh.create(REMOTE, inputs(server, "true", hostKey="junk", dialErrorLimit=-1))
    assert fresh.messages() == []


def test_a_pin_of_another_algorithm_finds_none_in_common(
    plugin: Plugin, server: Sshd, tmp_path: Path
) -> None:
    other = public_key(make_key(tmp_path / "other", kind="ecdsa"))
    parts = ("ssh: handshake failed: ssh: no common algorithm for host key; we offered: ",)
    with failing(*parts, "ecdsa-sha2-nistp256", "ssh-ed25519"):
        plugin.create(REMOTE, inputs(server, "true", hostKey=other, dialErrorLimit=0))


# Authentication.


def test_a_rejected_key_is_retried(fresh: Plugin, server: Sshd, tmp_path: Path) -> None:
    key = make_key(tmp_path / "stranger").read_text()
    given = inputs(server, "true", privateKey=key, password=None, dialErrorLimit=1)
    expected = (
        "ssh: unable to authenticate, attempted methods [none publickey], no supported methods"
    )
    with failing("after 1 failed attempts: ssh: handshake failed: ", expected):
        fresh.create(REMOTE, given)
    assert fresh.messages() == ["Dial 1/1 failed: retrying"]
    assert "PRIVATE KEY" not in fresh.stderr()


def test_without_credentials_authentication_fails(plugin: Plugin, server: Sshd) -> None:
    given = inputs(server, "true", privateKey=None, dialErrorLimit=0)
    with failing("after 0 failed attempts: ", "attempted methods [none], no supported"):
        plugin.create(REMOTE, given)


@pytest.mark.parametrize(("kind", "form"), [("ecdsa", "PEM"), ("rsa", "PEM"), ("ed25519", "")])
def test_an_encrypted_key_needs_its_passphrase(
    plugin: Plugin, tmp_path: Path, kind: str, form: str
) -> None:
    if is_stand_in() and not form:
        pytest.importorskip("bcrypt", reason="OpenSSH's own key encryption needs bcrypt")
    key = make_key(tmp_path / "client_key", kind=kind, passphrase=WORD, form=form)
    with Sshd.start(tmp_path) as server:
        given = inputs(server, "echo in", privateKeyPassword=secret(WORD))
        assert server.client_key_text == key.read_text()
        assert plugin.create(REMOTE, given)[1]["stdout"] == "in"
        with failing("ssh: this private key is passphrase protected"):
            plugin.create(REMOTE, inputs(server, "true"))
        with failing("x509: decryption password incorrect"):
            plugin.create(REMOTE, inputs(server, "true", privateKeyPassword="wrong"))


def test_an_invalid_private_key_fails_without_retry(fresh: Plugin, server: Sshd) -> None:
    with pytest.raises(PluginError, match=r"^ssh: no key found$") as caught:
        fresh.create(REMOTE, inputs(server, "true", privateKey="sesame", dialErrorLimit=-1))
    assert "sesame" not in str(caught.value)
    assert fresh.messages() == []


@pytest.mark.parametrize("method", ["password", "keyboard-interactive"])
def test_a_password_answers_every_prompt(plugin: Plugin, method: str) -> None:
    with PasswordServer(method=method, password=WORD) as server:
        login = {"host": "127.0.0.1", "port": server.port, "dialErrorLimit": 0}
        given = {"connection": login | {"password": secret(WORD)}, "create": "anything"}
        assert plugin.create(REMOTE, given)[1]["stdout"] == "welcome"
        given = {"connection": login | {"password": secret("wrong")}, "create": "anything"}
        with failing(f"attempted methods [none {method}], no supported methods remain"):
            plugin.create(REMOTE, given)


@pytest.fixture
def ssh_agent(server: Sshd, tmp_path: Path) -> Iterator[Path]:
    """The socket of an agent that holds the client key."""
    if shutil.which("ssh-agent") is None:
        pytest.skip("ssh-agent is missing: install openssh-client")
    place = tmp_path / "agent"
    process = subprocess.Popen(("ssh-agent", "-D", "-a", place), stdout=subprocess.DEVNULL)
    try:
        _wait_until(place.exists)
        environment = {**os.environ, "SSH_AUTH_SOCK": str(place)}
        key = server.folder / "client_key"
        subprocess.run(("ssh-add", "-q", key), env=environment, check=True)
        yield place
    finally:
        process.terminate()
        process.wait()


def test_the_agent_is_used(plugin: Plugin, server: Sshd, ssh_agent: Path) -> None:
    given = inputs(server, "echo in", privateKey=None, agentSocketPath=str(ssh_agent))
    assert plugin.create(REMOTE, given)[1]["stdout"] == "in"


def test_the_agent_of_the_environment_is_used(server: Sshd, ssh_agent: Path) -> None:
    with Plugin.start(environment={"SSH_AUTH_SOCK": str(ssh_agent)}) as plugin:
        given = inputs(server, "echo in", privateKey=None)
        assert plugin.create(REMOTE, given)[1]["stdout"] == "in"


def test_an_unreachable_agent_fails_even_with_a_key(server: Sshd, tmp_path: Path) -> None:
    expected = f"dial unix {tmp_path}/gone: connect: no such file or directory"
    with Plugin.start(environment={"SSH_AUTH_SOCK": f"{tmp_path}/gone"}) as plugin:
        with failing(expected):
            plugin.create(REMOTE, inputs(server, "true", dialErrorLimit=-1))
        assert plugin.messages() == []


# Dialling.


def test_refused_connections_are_retried_up_to_the_limit(fresh: Plugin, server: Sshd) -> None:
    port = free_port()
    started = time.monotonic()
    given = inputs(server, "true", port=port, dialErrorLimit=3)
    expected = f"after 3 failed attempts: dial tcp 127.0.0.1:{port}: connect: connection refused"
    with failing(expected):
        fresh.create(REMOTE, given)
    # Between four attempts: 0.1, 0.15 and 0.225 s.
    assert time.monotonic() - started > 0.47
    assert fresh.messages() == [f"Dial {number}/3 failed: retrying" for number in (1, 2, 3)]
    assert all(
        message.ephemeral and message.urn == urn(REMOTE) for message in fresh.engine.messages
    )


def test_a_server_that_starts_later_is_reached(fresh: Plugin, tmp_path: Path) -> None:
    with Sshd.start(tmp_path) as first:
        port = first.port
    with ThreadPoolExecutor(1) as pool:
        given = inputs(first, "echo in", dialErrorLimit=-1)
        running = pool.submit(fresh.create, REMOTE, given)
        _wait_until(lambda: "Dial 2/inf failed: retrying" in fresh.messages())
        with Sshd.start(tmp_path, port=port):
            assert running.result(30)[1]["stdout"] == "in"


def test_cancel_stops_dialling(fresh: Plugin, server: Sshd) -> None:
    with ThreadPoolExecutor(1) as pool:
        given = inputs(server, "true", port=free_port(), dialErrorLimit=-1)
        running = pool.submit(fresh.create, REMOTE, given)
        _wait_until(lambda: len(fresh.messages()) > 2)
        fresh.cancel()
        with failing("context canceled"):
            running.result(10)


def test_the_first_attempt_is_made_even_after_a_cancel(fresh: Plugin, server: Sshd) -> None:
    """A host that was being activated at Ctrl-C still gets its commit."""
    fresh.cancel()
    _, state = fresh.create(REMOTE, inputs(server, "echo in"))
    assert state["stdout"] == "in"


def test_a_timeout_stops_dialling(plugin: Plugin, server: Sshd) -> None:
    started = time.monotonic()
    with failing("context deadline exceeded"):
        given = inputs(server, "true", port=free_port(), dialErrorLimit=-1)
        plugin.create(REMOTE, given, timeout=1)
    assert time.monotonic() - started < 10


def test_each_attempt_has_its_own_timeout(plugin: Plugin, server: Sshd) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        # One connection fills the queue: packets of the next are dropped, as by a firewall.
        full = [socket.socket() for _ in range(3)]
        for waiting in full:
            waiting.setblocking(False)  # noqa: FBT003 positional only
            waiting.connect_ex(("127.0.0.1", port))
        started = time.monotonic()
        with failing(f"after 0 failed attempts: dial tcp 127.0.0.1:{port}: i/o timeout"):
            given = inputs(server, "true", port=port, dialErrorLimit=0, perDialTimeout=1)
            plugin.create(REMOTE, given)
        assert 0.9 < time.monotonic() - started < 10
        for waiting in full:
            waiting.close()


def test_an_unknown_host_name(plugin: Plugin, server: Sshd) -> None:
    with failing("after 0 failed attempts: dial tcp: lookup no-such-host.invalid"):
        given = inputs(server, "true", host="no-such-host.invalid", dialErrorLimit=0)
        plugin.create(REMOTE, given)


def test_a_server_that_closes_the_connection(plugin: Plugin, server: Sshd) -> None:
    with socket.socket() as listener, ThreadPoolExecutor(1) as pool:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        pool.submit(_close_first, listener)
        with failing("after 0 failed attempts: ssh: handshake failed: "):
            port = listener.getsockname()[1]
            plugin.create(REMOTE, inputs(server, "true", port=port, dialErrorLimit=0))


def _close_first(listener: socket.socket) -> None:
    listener.accept()[0].close()


# Through a proxy.


def test_a_proxy_is_used(plugin: Plugin, server: Sshd, tmp_path: Path) -> None:
    with Sshd.start(tmp_path) as bastion:
        given = inputs(server, "echo $SSH_CONNECTION", proxy=connection(bastion))
        assert plugin.create(REMOTE, given)[1]["stdout"].endswith(f" {server.port}")
        assert "Accepted publickey" in bastion.log()


def test_an_unreachable_proxy(fresh: Plugin, server: Sshd) -> None:
    proxy = connection(server, port=free_port(), dialErrorLimit=1)
    with failing("proxy: after 1 failed attempts: dial tcp 127.0.0.1:", "connection refused"):
        fresh.create(REMOTE, inputs(server, "true", proxy=proxy))
    assert fresh.messages() == ["Dial proxy 1/1 failed: retrying"]


def test_a_host_unreachable_from_the_proxy(fresh: Plugin, server: Sshd) -> None:
    given = inputs(server, "true", port=free_port(), proxy=connection(server), dialErrorLimit=1)
    with failing("proxy: after 1 failed attempts: ssh: rejected: connect failed (", "refused"):
        fresh.create(REMOTE, given)
    assert fresh.messages() == ["Dial from proxy 1/1 failed: retrying"]


def test_a_wrong_key_behind_the_proxy(plugin: Plugin, server: Sshd, tmp_path: Path) -> None:
    other = public_key(make_key(tmp_path / "other"))
    given = inputs(server, "true", hostKey=other, proxy=connection(server), dialErrorLimit=0)
    with failing("proxy: after 0 failed attempts: ssh: ", "host key mismatch"):
        plugin.create(REMOTE, given)


def test_a_wrong_key_of_the_proxy(plugin: Plugin, server: Sshd, tmp_path: Path) -> None:
    other = public_key(make_key(tmp_path / "other"))
    proxy = connection(server, hostKey=other, dialErrorLimit=0)
    with failing("proxy: after 0 failed attempts: ssh: handshake failed: ssh: host key mismatch"):
        plugin.create(REMOTE, inputs(server, "true", proxy=proxy))


# Ends.


def _running(plugin: Plugin, server: Sshd, folder: Path) -> Future[tuple[str, Json]]:
    """A command that is running, until the file `folder/go` exists."""
    wait = f"echo on; touch {folder}/on; while [ ! -e {folder}/go ]; do sleep 0.05; done"
    pool = ThreadPoolExecutor(1)
    future = pool.submit(plugin.create, REMOTE, inputs(server, f"{wait}; echo end"))
    pool.shutdown(wait=False)
    _wait_until((folder / "on").exists)
    return future


def test_a_lost_connection_is_an_error(plugin: Plugin, tmp_path: Path) -> None:
    with Sshd.start(tmp_path / "sshd") as server:
        future = _running(plugin, server, tmp_path)
        _wait_until(lambda: "on" in plugin.messages())
        assert server.kill_sessions() == 1
        with failing(NO_STATUS, '":\non\n'):
            future.result(10)
        (tmp_path / "go").touch()


def test_cancel_does_not_interrupt_a_running_command(
    fresh: Plugin, server: Sshd, tmp_path: Path
) -> None:
    future = _running(fresh, server, tmp_path)
    fresh.cancel()
    time.sleep(0.5)
    assert not future.done()
    (tmp_path / "go").touch()
    assert future.result(10)[1]["stdout"] == "on\nend"


def test_a_timeout_does_not_interrupt_a_running_command(plugin: Plugin, server: Sshd) -> None:
    _, state = plugin.create(REMOTE, inputs(server, "sleep 6; echo end"), timeout=4)
    assert state["stdout"] == "end"


@own_only
def test_connections_are_closed(plugin: Plugin, tmp_path: Path) -> None:
    with Sshd.start(tmp_path) as server:
        plugin.create(REMOTE, inputs(server, "true"))
        with failing("status 1"):
            plugin.create(REMOTE, inputs(server, "false"))
        plugin.create(REMOTE, inputs(server, "true", proxy=connection(server)))
        _wait_until(lambda: not server.sessions())


def test_64_commands_run_at_once(plugin: Plugin, server: Sshd) -> None:
    started = time.monotonic()
    with ThreadPoolExecutor(64) as pool:
        given = [inputs(server, f"sleep 2; echo {number}") for number in range(64)]
        states = list(pool.map(lambda each: plugin.create(REMOTE, each)[1], given))
    assert [state["stdout"] for state in states] == [str(number) for number in range(64)]
    # One after another, they would take 128 s; the machine may be busy.
    assert time.monotonic() - started < 60


def test_no_secret_is_ever_shown(server: Sshd, tmp_path: Path) -> None:
    stranger = make_key(tmp_path / "stranger").read_text()
    errors = []
    with Plugin.start() as plugin:
        for changes in (
            {"privateKey": secret(stranger), "password": secret("sesame")},
            {"privateKey": secret("sesame")},
            {"privateKey": secret(stranger), "privateKeyPassword": secret("sesame")},
            {"port": free_port(), "password": secret("sesame")},
        ):
            with pytest.raises(PluginError) as caught:
                plugin.create(REMOTE, inputs(server, "true", **changes) | {"stdin": "sesame"})
            errors.append(str(caught.value))
        plugin.stop()
        shown = "\n".join([*errors, *plugin.messages(), plugin.stderr()])
    assert "sesame" not in shown
    assert stranger.splitlines()[1] not in shown


def _wait_until(holds: object, seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    assert callable(holds)
    while not holds():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)
