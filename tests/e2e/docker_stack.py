"""A stack of services without hosts, on a Docker daemon behind a proxy.

Tests observe the daemon directly, not through the proxy. Everything that the stack creates carries
its owner's label; what the tests themselves create carries another one. Names contain the process
id of the run, so that several runs can use the machine's daemon at the same time.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

import pytest
import yaml

from harness.daemons.daemon_proxy import DaemonProxy
from harness.daemons.dockerd import Dockerd
from harness.http_load import http_get
from harness.ports import free_port
from harness.unix_http import ApiError
from tests.e2e.stack import ROOT, Backend, Workspace

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.command_result import CommandResult, Json

PARTS: Final = ("pulumi", "nix", "docker", "edge")
RUN: Final = f"e2e-{os.getpid()}"
OWNER: Final = f"flakeup/{RUN}"
"""The name in its owner's label, which has a random id too."""
OWNED: Final = f"flakeup.owner={OWNER}/"
"""A label to look for; one that ends with `/` is the beginning of one."""
APP: Final = f"{RUN}-app"
EDGE: Final = f"{RUN}-edge"
"""Attributes of the flake, and thus names of images."""
USERS: Final = f"{RUN}-users"
"""Prefix of the containers, images, networks and volumes of somebody else."""
_OF_A_RUN: Final = re.compile(r"\be2e-([0-9]+)")
HEALTHCHECK: Final = ["/bin/busybox", "wget", "-q", "-O", "-", "http://127.0.0.1:8080/"]
CONVERGED: Final = {"unchanged": 16}
"""Stack, two providers, owner, release, fleet, build, two images of two each, the network, and
of the service: itself, candidate, container, edge, traffic."""
AGAIN: Final = "fix the release, then run `pulumi up` again"


class DockerStack(Workspace):
    """A project without hosts, whose flake names the images of this run."""

    name: str = RUN
    project: str = "flakeup"
    app: str = APP
    edge: str = EDGE
    port: int
    """The first of three that are reserved, side by side."""
    network: str = ""
    """The file of the daemon's network namespace, if it is not this machine's."""
    release: str = ""
    """The release that serves once everything is verified; empty meanwhile."""

    @classmethod
    def with_service(cls, folder: Path, layer: str, proxy: DaemonProxy | Dockerd) -> DockerStack:
        """A stack with nothing deployed yet; `layer` is the edge image's layer with HAProxy."""
        app = folder / "app"
        quiet = subprocess.DEVNULL
        subprocess.run((ROOT / "demo" / "app-repo", app), check=True, timeout=60, stdout=quiet)
        made = cls.create(folder, Backend(state=folder / "state"), f"git+file://{app}")
        made._rename_images(layer)
        made.backend.state.mkdir()
        made._do("pulumi", "stack", "init", cls.name)
        salt = yaml.safe_load(made._file.read_text())["encryptionsalt"]
        made.backend.secrets["encryptionsalt"] = salt
        made.port = free_port(count=3)
        docker = {"host": proxy.host}
        made.config = {"flake": "./flake", "docker": docker, "services": {"app": made.service()}}
        return made

    @property
    def _file(self) -> Path:
        return self.folder / f"Pulumi.{self.name}.yaml"

    @property
    def environment(self) -> dict[str, str]:
        return {**super().environment, "PULUMI_STACK": self.name}

    def _rename_images(self, layer: str) -> None:
        images = self.folder / "flake" / "lib" / "images.nix"
        text = images.read_text().replace("app-image", self.app)
        images.write_text(text.replace("edge-image", self.edge))
        summed = subprocess.run(
            ("sha256sum", layer), check=True, capture_output=True, text=True, timeout=60
        )
        edge = {"url": f"file://{layer}", "sha256": summed.stdout.split()[0]}
        (self.folder / "flake" / "base.json").write_text(json.dumps({"edge": edge}))

    def service(self, **changes: Json | str | list[str] | bool | int | None) -> Json:
        """The config of the service, with some keys changed; None leaves a key out."""
        base = {
            "image": self.app,
            "edge": self.edge,
            "ports": {str(self.port): "8080"},
            "healthcheck": HEALTHCHECK,
            "healthInterval": "1s",
            "wait": "30s",
            "grace": "5s",
        }
        return {key: value for key, value in {**base, **changes}.items() if value is not None}

    def write(self, **changes: Any) -> None:
        """As in the base class, but without the ssh key of hosts."""
        wanted = {**self.config, **changes}
        named = ((f"{self.project}:{key}", value) for key, value in wanted.items())
        body = {key: value for key, value in named if value is not None}
        whole = {"encryptionsalt": self.backend.secrets["encryptionsalt"], "config": body}
        self._file.write_text(yaml.safe_dump(whole, sort_keys=False))

    def up(self, *words: str) -> CommandResult:
        self.release = ""
        return super().up(*words)

    def reset(self) -> None:
        """Deploy v1, unless the previous test has verified that a release serves."""
        if self.release:
            return
        self.cancel()
        self.write(appRef="v1")
        result = self.up("--refresh")
        assert result.code == 0, result.text
        self.release = "v1"

    def state(self, *words: str) -> Json:
        """Read the backend's file, which is faster than `pulumi stack export`."""
        if words:
            return super().state(*words)
        (file,) = self.backend.state.glob(f".pulumi/stacks/*/{self.name}.json")
        found: Json = json.loads(file.read_text())["checkpoint"]["latest"] or {}
        return found

    @property
    def other(self) -> str:
        """The release that does not serve now."""
        return {"v1": "v2", "v2": "v1"}[self.release]

    def containers(self) -> dict[str, str]:
        """The state's containers: the name of the resource → that of the container."""
        return {
            one["urn"].rsplit("::", 1)[1]: one["outputs"]["name"]
            for one in self.state().get("resources", ())
            if one["type"] == "docker:index/container:Container" and not one.get("delete")
        }

    def traffic(self, service: str = "app") -> str:
        """The container that gets the traffic, by the state."""
        for one in self.state().get("resources", ()):
            if one["urn"].endswith(f"flakeup:docker:Traffic::{service}-traffic"):
                return str(one["outputs"]["container"])
        return ""

    def http_get(self) -> str:
        """What the service answers through its edge."""
        return http_get(self.port, network=self.network)


@dataclass(frozen=True, slots=True)
class DockerInspector:
    """Looks at the daemon directly, not through the proxy."""

    daemon: Dockerd

    def containers(self, label: str = OWNED) -> list[str]:
        """The names of all containers with a label, running or not."""
        return sorted(str(one["Names"][0])[1:] for one in self._listed(label))

    def candidates(self, service: str = "app") -> list[str]:
        """The candidates of a service that still exist."""
        found = self._listed(f"flakeup.candidate={OWNER}/")
        return sorted(
            str(one["Names"][0])[1:]
            for one in found
            if one["Labels"]["flakeup.candidate"].rpartition("/")[2] == service
        )

    def _listed(self, label: str) -> Any:
        found = self.daemon.request("GET", f"/containers/json?all=1&{_filter(label)}")
        return [one for one in found if _has(one, label)]

    def images(self, name: str = APP) -> list[str]:
        """The references of an image, with their tags."""
        query = urlencode({"filters": json.dumps({"reference": [name]})})
        found = self.daemon.request("GET", f"/images/json?{query}")
        return sorted(tag for one in found for tag in one["RepoTags"] or ())

    def networks(self, label: str = OWNED) -> list[str]:
        found = self.daemon.request("GET", f"/networks?{_filter(label)}")
        return sorted(one["Name"] for one in found if _has(one, label))

    def volumes(self, label: str) -> list[str]:
        query = urlencode({"filters": json.dumps({"label": [label]})})
        return sorted(v["Name"] for v in self.daemon.request("GET", f"/volumes?{query}")["Volumes"])

    def post(self, path: str, body: Json | None = None) -> Any:
        return self.daemon.request("POST", path, body)

    def delete(self, path: str) -> None:
        self.daemon.request("DELETE", path)

    def clean(self, name: str = "") -> None:
        """Remove everything that the stacks, tests and killed runs have created.

        With a `name`, only what has it in its labels or its own name.
        """

        def is_ours(*texts: str) -> bool:
            return _is_leftover(*texts) and any(name in text for text in texts)

        for one in self.daemon.request("GET", "/containers/json?all=1"):
            if is_ours(*one["Labels"].values()):
                self._try_delete(f"/containers/{one['Id']}?force=1&v=1")
        for one in self.daemon.request("GET", "/networks"):
            if is_ours(*(one["Labels"] or {}).values()):
                self._try_delete(f"/networks/{one['Id']}")
        for one in self.daemon.request("GET", "/volumes")["Volumes"]:
            if is_ours(one["Name"]):
                self._try_delete(f"/volumes/{one['Name']}")
        for one in self.daemon.request("GET", "/images/json"):
            for tag in filter(is_ours, one["RepoTags"] or ()):
                self._try_delete(f"/images/{tag}?force=1")

    def _try_delete(self, path: str) -> None:
        with suppress(ApiError):
            self.delete(path)


def _filter(label: str) -> str:
    key = label.partition("=")[0] if label.endswith("/") else label
    return urlencode({"filters": json.dumps({"label": [key]})})


def _has(one: Json, label: str) -> bool:
    key, _, text = label.partition("=")
    return not label.endswith("/") or str(one["Labels"][key]).startswith(text)


def _is_leftover(*texts: str) -> bool:
    """Whether something belongs to this run, or to one that no longer runs."""
    runs = {int(found) for text in texts for found in _OF_A_RUN.findall(text)}
    return any(run == os.getpid() or not Path(f"/proc/{run}").exists() for run in runs)


def assert_serves(stack: DockerStack, inspector: DockerInspector, release: str) -> None:
    """Check that there are one container with its image, its edge, and nothing else."""
    assert stack.http_get() == f"app {release} on docker"
    known = stack.containers()
    assert known.keys() == {"app", "app-edge"}
    assert inspector.containers() == sorted(known.values())
    assert stack.traffic() == known["app"]
    assert inspector.candidates() == []
    (image,) = inspector.images()
    assert inspector.daemon.container(known["app"])["Config"]["Image"] == image
    assert len(inspector.networks()) == 1
    stack.release = release


def assert_converged(stack: DockerStack, inspector: DockerInspector, release: str) -> None:
    """Check also that another `up` has nothing to do."""
    assert_serves(stack, inspector, release)
    result = stack.up()
    assert (result.code, result.summary()) == (0, CONVERGED), result.text
    stack.release = release


def wait_until_gone(inspector: DockerInspector, container: str, seconds: float = 20) -> float:
    """Wait until a container is gone; returns when that was."""
    deadline = time.monotonic() + seconds
    while inspector.daemon.is_there(container):
        assert time.monotonic() < deadline, f"{container} is still there"
        time.sleep(0.05)
    return time.monotonic()


def delete_built_images() -> None:
    """Delete the images that were built for this run from nix's store."""
    built = [str(path) for path in Path("/nix/store").glob(f"*-docker-image-{RUN}-*.tar")]
    argv = (str(ROOT / "tools" / "env"), "nix-store", "--delete", *built)
    subprocess.run(argv, capture_output=True, timeout=60, check=False)


# --- fixtures ----------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def docker_inspector(parts: dict[str, dict[str, Any]]) -> Iterator[DockerInspector]:
    """Access to the daemon; skips, with the reason, if a part of the toolchain is missing."""
    for name in PARTS:
        if parts[name]["state"] != "ready":
            pytest.skip(f"no {name}: {parts[name]['reason']}; {parts[name]['remedy']}")
    inspector = DockerInspector(Dockerd(host=str(parts["docker"]["host"]), prefix=USERS))
    inspector.clean()
    yield inspector
    inspector.clean()


@pytest.fixture(scope="session")
def docker_place(docker_inspector: DockerInspector) -> Iterator[Path]:  # noqa: ARG001 skips without the tools
    """A private folder with a short path; images that were built from it are deleted."""
    folder = Path(tempfile.mkdtemp(prefix="flakeup-docker-"))
    yield folder
    shutil.rmtree(folder)
    delete_built_images()


@pytest.fixture(scope="session")
def docker_proxy(docker_place: Path, docker_inspector: DockerInspector) -> Iterator[DaemonProxy]:
    with DaemonProxy(docker_place / "docker.sock", docker_inspector.daemon.socket) as proxy:
        yield proxy


@pytest.fixture(scope="session")
def docker_stack(
    docker_place: Path, docker_proxy: DaemonProxy, parts: dict[str, dict[str, Any]]
) -> DockerStack:
    """The stack that all tests share, with nothing deployed yet."""
    layer = str(parts["edge"]["layer"])
    return DockerStack.with_service(docker_place / "main", layer, docker_proxy)


@pytest.fixture
def services(docker_stack: DockerStack, docker_proxy: DaemonProxy) -> DockerStack:
    """The shared stack, with its service on v1 or v2, and a proxy without faults."""
    docker_proxy.reset()
    docker_stack.reset()
    docker_proxy.reset()
    return docker_stack
