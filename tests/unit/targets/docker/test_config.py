"""When two configurations are those of one image, though their digests differ."""

import json
from typing import Any

import pytest

from components.pipeline.targets.docker.config import ImageConfig

LAYERS = ["sha256:1", "sha256:2"]
SETTINGS: dict[str, Any] = {
    "User": "app",
    "Env": ["A=b"],
    "Cmd": ["/bin/app"],
    "Healthcheck": {"Test": ["CMD", "true"]},
}


def config(*, layers: list[str] = LAYERS, arch: str = "amd64", **changes: Any) -> ImageConfig:
    settings = {key: one for key, one in {**SETTINGS, **changes}.items() if one is not None}
    found = {
        "os": "linux",
        "architecture": arch,
        "rootfs": {"type": "layers", "diff_ids": layers},
        "config": settings,
    }
    return ImageConfig.parse(json.dumps(found).encode())


@pytest.mark.parametrize(
    ("found", "is_same"),
    [
        (config(), True),
        # What a conversion to OCI drops, and what a daemon adds.
        (config(Healthcheck=None), True),
        (config(Labels={}, Volumes=None, WorkingDir="", Hostname="", Tty=False), True),
        (config(User=None), False),
        (config(User="root"), False),
        (config(Env=["A=b", "LD_PRELOAD=/x"]), False),
        (config(Cmd=["/bin/other"]), False),
        (config(Entrypoint=["/bin/other"]), False),
        (config(Healthcheck={"Test": ["CMD", "other"]}), False),
        (config(OnBuild=["RUN other"]), False),
        (config(layers=["sha256:1", "sha256:3"]), False),
        (config(layers=["sha256:1"]), False),
        (config(arch="arm64"), False),
    ],
)
def test_converted_images(found: ImageConfig, *, is_same: bool) -> None:
    assert config().is_same_as(found) == is_same


def test_an_image_of_a_daemon() -> None:
    found: dict[str, Any] = {
        "Id": "sha256:3",
        "Os": "linux",
        "Architecture": "amd64",
        "RootFS": {"Type": "layers", "Layers": LAYERS},
        "Config": {**SETTINGS, "Entrypoint": None, "Volumes": None, "WorkingDir": ""},
    }
    assert config().is_same_as(ImageConfig.of_inspected(found))
    changes: tuple[dict[str, Any], ...]
    changes = {"RootFS": {}}, {"Config": None}, {"Architecture": "arm64"}
    for change in changes:
        assert not config().is_same_as(ImageConfig.of_inspected({**found, **change}))


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{}", b'{"rootfs": 1}', b"[" * 100_000, b'"\xff"', b"null"]
)
def test_what_is_no_configuration(content: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 of json, or our own
        ImageConfig.parse(content)
