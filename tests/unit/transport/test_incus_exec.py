"""Which instance answers to a name; `incus` is a script."""

from dataclasses import replace
from pathlib import Path, PurePosixPath

import pytest

from components.pipeline.config.incus import IncusSpec, TransportKind
from components.pipeline.errors import HostError, UnreachableError
from components.pipeline.transport.incus_exec import IncusExec
from tests.unit.hosts import host

UUID = "0a1b2c3d-0000-4000-8000-0123456789ab"
SPEC = IncusSpec(name="web1", project="fleet", transport=TransportKind.EXEC)
WEB1 = IncusExec(host=replace(host(), incus=SPEC), folder=PurePosixPath("ssh"))


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "incus"
    file.write_text(f'#!/bin/sh\necho "$*" >"{tmp_path}/argv"\n. "{tmp_path}/answer"\n')
    file.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return tmp_path


async def test_the_instance_of_the_state(client: Path) -> None:
    (client / "answer").write_text(f"echo {UUID}")
    await WEB1.require_uuid(UUID)
    asked = (client / "argv").read_text().strip()
    assert asked == "config get --project fleet -- local:web1 volatile.uuid"


@pytest.mark.parametrize(
    ("printed", "detail"),
    [("ffff", "its UUID is ffff"), ("", "its UUID is empty"), (r"\033[2J", r"its UUID is \x1b[2J")],
)
async def test_another_instance_of_that_name(client: Path, printed: str, detail: str) -> None:
    (client / "answer").write_text(f"printf '{printed}\\n'")
    with pytest.raises(HostError) as caught:
        await WEB1.require_uuid(UUID)
    assert str(caught.value) == (
        f"another instance: web1 (local:web1, project fleet): {detail}, and the state has {UUID}."
        " find out who has replaced it, then run `pulumi refresh`"
    )


async def test_incus_cannot_be_asked(client: Path) -> None:
    (client / "answer").write_text("echo 'Error: not found' >&2; exit 1")
    with pytest.raises(UnreachableError, match="Error: not found"):
        await WEB1.require_uuid(UUID)
