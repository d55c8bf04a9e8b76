"""Secrets of a service: files in its container, and to be found nowhere else."""

from __future__ import annotations

import base64
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from harness.daemons.http_load import Load
from tests.e2e.docker_stack import AGAIN, OWNED, OWNER, DockerStack, World, assert_serves
from tests.e2e.witness import Witness

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.daemons.docker_proxy import DockerProxy
    from tests.e2e.said import Json

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
"""Ends at once where the secret is not there yet, or can be written."""


@pytest.fixture(scope="module")
def secretive(
    docker_stack: DockerStack, docker_world: World, docker_proxy: DockerProxy
) -> Iterator[DockerStack]:
    """The stack's service with a read-only root and a user of no rights; as it was at the end."""
    docker_proxy.forget()
    yield docker_stack
    docker_stack.write(appRef="v1")
    said = docker_stack.up()
    assert said.code == 0, said.text
    assert_serves(docker_stack, docker_world, "v1")
    assert holders(docker_world) == []
    assert volumes(docker_world) == 0


def write(stack: DockerStack, release: str, secret: str) -> None:
    """Set as a person sets it."""
    service = stack.service(command=SERVES, readOnly=True, user="1000:1000")
    stack.write(appRef=release, services={"app": service})
    words = ("--secret", "--path", "services.app.secrets.TOKEN")
    stack._do("pulumi", "config", "set", *words, stdin=secret)
    assert NEEDLE not in stack._file.read_text()


def seen(stack: DockerStack, world: World) -> str:
    """What the program in the container sees."""
    return world.daemon.run(stack.containers()["app"], "/bin/busybox", "cat", FILE)


def holders(world: World) -> list[str]:
    return world.containers("flakeup.secrets=app")


def volumes(world: World) -> int:
    """How many volumes hold a secret, whoever they are of."""
    found = world.daemon.ask("GET", "/volumes")["Volumes"] or ()
    return sum(_has_secret(volume) for volume in found)


def _has_secret(volume: Json) -> bool:
    try:
        return NEEDLE in (Path(volume["Mountpoint"]) / "TOKEN").read_text()
    except OSError:
        return False


def assert_nowhere(text: str) -> None:
    """Neither as it is, nor in the forms that a program might give it."""
    assert NEEDLE not in text
    for form in (base64.b64encode(secret.encode()).decode() for secret in (ONE, TWO)):
        assert form[:16] not in text


def assert_not_kept(stack: DockerStack) -> None:
    """In no file of the state, its history and its backups."""
    for file in stack.backend.state.rglob("*"):
        if file.is_file():
            assert_nowhere(file.read_text(errors="replace"))


def test_a_secret_is_a_file_and_nowhere_else(secretive: DockerStack, docker_world: World) -> None:
    """At level 9 the engine itself writes down all that it sends (3.259); nobody else does."""
    stack, world = secretive, docker_world
    write(stack, "v1", ONE)
    witness = Witness(NEEDLE)
    with witness.watching():
        said = stack.up("--debug", "--logtostderr", "-v=9")
    assert said.code == 0, said.text[-5000:]
    lines = [line for line in said.text.splitlines() if NEEDLE in line]
    assert [line for line in lines if not re.search(TRACE, line)] == []
    assert lines, "the check sees what it looks for"
    assert witness.argv == set()
    assert witness.environment <= {"python", "python3"}, "Pulumi gives the program its config so"
    assert seen(stack, world) == ONE
    assert world.tried() == []
    (holder,) = holders(world)
    assert volumes(world) == 1
    for name in (holder, stack.containers()["app"]):
        assert_nowhere(str(world.daemon.container(name)))
    assert_not_kept(stack)
    assert NEEDLE in stack.pulumi("stack", "export", "--show-secrets").text

    # The second one only asks.
    said = stack.up("--debug")
    assert said.code == 0, said.text
    assert re.search(r"Resources:\n +16 unchanged", said.text), said.text
    assert_nowhere(said.text)


def test_another_one_is_another_container_and_a_bad_release_keeps_the_one_of_before(
    secretive: DockerStack, docker_world: World
) -> None:
    """Tried as any change, and nobody who asks notices."""
    stack, world = secretive, docker_world
    old = stack.containers()["app"]
    write(stack, "v1", TWO)
    with Load(stack.port) as load:
        said = stack.preview("--diff")
        assert said.code == 0, said.text
        assert_nowhere(said.text)
        said = stack.up()
    assert said.code == 0, said.text
    assert_nowhere(said.text)
    assert load.lost == []
    assert stack.containers()["app"] != old
    assert seen(stack, world) == TWO.replace("\n", "\r\n")
    assert volumes(world) == 1
    known = stack.containers()
    assert world.containers() == sorted(known.values())
    assert world.tried() == []
    assert_not_kept(stack)

    # A release that does not work, with another secret: what serves has the one of before.
    write(stack, "v3", ONE)
    with Load(stack.port) as load:
        said = stack.up()
    assert said.code != 0
    (error,) = said.errors()
    assert error.startswith("not healthy: app: ")
    assert error.endswith(AGAIN)
    assert_nowhere(said.text)
    assert load.lost == []
    assert stack.containers() == known
    assert world.containers() == sorted(known.values())
    assert seen(stack, world) == TWO.replace("\n", "\r\n")
    assert volumes(world) == 1
    assert_not_kept(stack)


def test_a_secret_in_clear_text_is_refused(secretive: DockerStack, docker_world: World) -> None:
    """Also beside one that is none: the engine itself does not tell them apart."""
    write(secretive, "v1", ONE)
    containers = docker_world.containers()
    # Pulumi itself refuses what looks like a secret to it, unless it is told so.
    words = ("--plaintext", "--path", "services.app.secrets.OTHER", TWO)
    secretive._do("pulumi", "config", "set", *words)
    said = secretive.up()
    assert said.code != 0
    assert said.errors() == [
        "1 problem in the config of stack " + OWNER.partition("/")[2] + "\n"
        "config flakeup:services.app.secrets: [secret]: has OTHER, which is in clear text. "
        "run: pulumi config set --secret --path services.app.secrets.OTHER"
    ]
    assert_nowhere(said.text)
    assert docker_world.containers(OWNED) == containers
