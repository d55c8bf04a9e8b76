"""Secrets of a service: files in its container, and nowhere else."""

from __future__ import annotations

import base64
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from harness.http_load import Load
from tests.e2e.docker_stack import AGAIN, OWNED, OWNER, DockerInspector, DockerStack, assert_serves
from tests.e2e.process_scanner import ProcessScanner

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.command_result import Json
    from harness.daemons.daemon_proxy import DaemonProxy

pytestmark = pytest.mark.e2e
NEEDLE: Final = f"hunter2-{os.getpid()}"
ONE: Final = f"{NEEDLE}-one"
TWO: Final = f'{NEEDLE}-two "quoted" $HOME\n{NEEDLE}-two-again'
TRACE: Final = r'"msg":"(?:M|Unm)arshaling property for RPC\[.*"v":9}$'
FILE: Final = "/run/secrets/TOKEN"
SERVES: Final = [
    "/bin/busybox",
    "sh",
    "-c",
    f"[ -s {FILE} ] && ! echo >{FILE} || exit 3; exec /bin/busybox nc -ll -p 8080 -e /app/answer",
]
"""Exits at once if the secret does not exist yet, or can be written."""


@pytest.fixture(scope="module")
def secretive(
    docker_stack: DockerStack, docker_inspector: DockerInspector, docker_proxy: DaemonProxy
) -> Iterator[DockerStack]:
    """The stack's service with a read-only root and an unprivileged user; restored at the end."""
    docker_proxy.reset()
    yield docker_stack
    docker_stack.write(appRef="v1")
    result = docker_stack.up()
    assert result.code == 0, result.text
    assert_serves(docker_stack, docker_inspector, "v1")
    assert secrets_containers(docker_inspector) == []
    assert volumes(docker_inspector) == 0


def write(stack: DockerStack, release: str, secret: str) -> None:
    """Set the secret with `pulumi config`."""
    service = stack.service(command=SERVES, readOnly=True, user="1000:1000")
    stack.write(appRef=release, services={"app": service})
    words = ("--secret", "--path", "services.app.secrets.TOKEN")
    stack._do("pulumi", "config", "set", *words, stdin=secret)
    assert NEEDLE not in stack._file.read_text()


def seen(stack: DockerStack, inspector: DockerInspector) -> str:
    """What the program in the container sees."""
    return inspector.daemon.run(stack.containers()["app"], "/bin/busybox", "cat", FILE)


def secrets_containers(inspector: DockerInspector) -> list[str]:
    return inspector.containers("flakeup.secrets=app")


def volumes(inspector: DockerInspector) -> int:
    """How many volumes of any owner have a secret in them."""
    found = inspector.daemon.request("GET", "/volumes")["Volumes"] or ()
    return sum(_has_secret(volume) for volume in found)


def _has_secret(volume: Json) -> bool:
    try:
        return NEEDLE in (Path(volume["Mountpoint"]) / "TOKEN").read_text()
    except OSError:
        return False


def assert_nowhere(text: str) -> None:
    """Neither in clear, nor in encodings that programs use."""
    assert NEEDLE not in text
    for form in (base64.b64encode(secret.encode()).decode() for secret in (ONE, TWO)):
        assert form[:16] not in text


def assert_not_kept(stack: DockerStack) -> None:
    """In no file of the state, its history and its backups."""
    for file in stack.backend.state.rglob("*"):
        if file.is_file():
            assert_nowhere(file.read_text(errors="replace"))


def test_a_secret_is_in_a_file_and_nowhere_else(
    secretive: DockerStack, docker_inspector: DockerInspector
) -> None:
    """At level 9 the engine itself logs all that it sends (3.259); nothing else does."""
    stack, inspector = secretive, docker_inspector
    write(stack, "v1", ONE)
    scanner = ProcessScanner(NEEDLE)
    with scanner.scanning():
        result = stack.up("--debug", "--logtostderr", "-v=9")
    assert result.code == 0, result.text[-5000:]
    lines = [line for line in result.text.splitlines() if NEEDLE in line]
    assert [line for line in lines if not re.search(TRACE, line)] == []
    assert lines, "the check sees what it looks for"
    assert scanner.argv == set()
    assert scanner.environment <= {"python", "python3"}, "Pulumi gives the program its config so"
    assert seen(stack, inspector) == ONE
    assert inspector.candidates() == []
    (holder,) = secrets_containers(inspector)
    assert volumes(inspector) == 1
    for name in (holder, stack.containers()["app"]):
        assert_nowhere(str(inspector.daemon.container(name)))
    assert_not_kept(stack)
    assert NEEDLE in stack.pulumi("stack", "export", "--show-secrets").text

    # The second `up` only reads.
    result = stack.up("--debug")
    assert result.code == 0, result.text
    assert re.search(r"Resources:\n +17 unchanged", result.text), result.text
    assert_nowhere(result.text)


def test_a_new_secret_replaces_the_container_and_a_broken_release_keeps_it(
    secretive: DockerStack, docker_inspector: DockerInspector
) -> None:
    """With a candidate, as any change; clients notice nothing."""
    stack, inspector = secretive, docker_inspector
    old = stack.containers()["app"]
    write(stack, "v1", TWO)
    with Load(stack.port) as load:
        result = stack.preview("--diff")
        assert result.code == 0, result.text
        assert_nowhere(result.text)
        result = stack.up()
    assert result.code == 0, result.text
    assert_nowhere(result.text)
    assert load.lost == []
    assert stack.containers()["app"] != old
    assert seen(stack, inspector) == TWO.replace("\n", "\r\n")
    assert volumes(inspector) == 1
    known = stack.containers()
    assert inspector.containers() == sorted(known.values())
    assert inspector.candidates() == []
    assert_not_kept(stack)

    # A broken release with another secret: what serves keeps the previous one.
    write(stack, "v3", ONE)
    with Load(stack.port) as load:
        result = stack.up()
    assert result.code != 0
    (error,) = result.errors()
    assert error.startswith("not healthy: app: ")
    assert error.endswith(AGAIN)
    assert_nowhere(result.text)
    assert load.lost == []
    assert stack.containers() == known
    assert inspector.containers() == sorted(known.values())
    assert seen(stack, inspector) == TWO.replace("\n", "\r\n")
    assert volumes(inspector) == 1
    assert_not_kept(stack)


def test_a_secret_in_clear_text_is_refused(
    secretive: DockerStack, docker_inspector: DockerInspector
) -> None:
    """Even next to one that is secret: the engine itself does not tell them apart."""
    write(secretive, "v1", ONE)
    containers = docker_inspector.containers()
    # Pulumi refuses clear text that looks like a secret, unless it is told `--plaintext`.
    words = ("--plaintext", "--path", "services.app.secrets.OTHER", TWO)
    secretive._do("pulumi", "config", "set", *words)
    result = secretive.up()
    assert result.code != 0
    assert result.errors() == [
        "1 problem in the config of stack " + OWNER.partition("/")[2] + "\n"
        "config flakeup:services.app.secrets: [secret]: has OTHER, which is in clear text. "
        "run: pulumi config set --secret --path services.app.secrets.OTHER"
    ]
    assert_nowhere(result.text)
    assert docker_inspector.containers(OWNED) == containers
