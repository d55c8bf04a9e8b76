"""What is checked and written before a run changes anything."""

from pathlib import Path

import pytest

from components.pipeline import preflight
from components.pipeline.config.services import Services
from components.pipeline.config.stack import Settings
from components.pipeline.errors import IncusPinError
from components.pipeline.targets.incus import preflight as incus
from components.pipeline.values import FlakeUrl
from tests.unit.hosts import HOST_KEY, host


def settings() -> Settings:
    return Settings(
        flake=FlakeUrl.parse("./flake"),
        hosts=(host(),),
        ssh_key="a key",
        services=Services(host="ssh://deploy@203.0.113.7", host_key=HOST_KEY),
    )


def test_it_writes_the_ssh_files_of_hosts_and_of_the_docker_daemon(tmp_path: Path) -> None:
    files = preflight.check(settings(), tmp_path)
    assert (tmp_path / "known_hosts").read_text() == f"web1 {HOST_KEY.line}\n"
    assert (tmp_path / "docker-203.0.113.7-22").read_text() == f"docker.host {HOST_KEY.line}\n"
    assert files.key is not None
    assert Path(files.key).read_text() == "a key\n"


def test_it_writes_nothing_if_a_target_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: object) -> None:
        text = "another server"
        raise IncusPinError(text)

    monkeypatch.setattr(incus, "check_fingerprints", refuse)
    with pytest.raises(IncusPinError, match="another server"):
        preflight.check(settings(), tmp_path)
    assert list(tmp_path.iterdir()) == []
