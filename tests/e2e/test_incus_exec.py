"""An instance without network and sshd, deployed to over `incus exec`."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.hosts import make_key
from harness.incus import Incus
from tests.e2e.host_faults import CURRENT
from tests.e2e.stack import ROOT, Backend, Workspace, wait_for

pytestmark = pytest.mark.e2e
INSTANCE = "flakeup-exec-web1"
SWITCH = "command:local:Command"


class IsolatedInstance:
    """The instance, inspected through Incus."""

    def __init__(self, incus: Incus) -> None:
        self._incus = incus

    def exec(self, *argv: str) -> str:
        return self._incus.call("exec", INSTANCE, "-T", "--", *argv).strip()

    def runs(self) -> str:
        return self.query("readlink", "-f", "/run/current-system")

    def boots(self) -> str:
        return self.query("readlink", "-f", "/nix/var/nix/profiles/system")

    def uuid(self) -> str:
        return self._incus.call("config", "get", INSTANCE, "volatile.uuid").strip()

    def answers(self) -> str:
        return self.query("curl", "--silent", "http://localhost:8080/")

    def query(self, *argv: str) -> str:
        return self._incus.query(INSTANCE, *argv).strip()


@pytest.fixture(scope="module")
def stack(place: Path, app_url: str) -> Iterator[Workspace]:
    incus = Incus.ready()
    made = Workspace.create(place / "exec", Backend(state=place / "exec" / "state"), app_url)
    key = place / "exec" / "keys" / "client"
    make_key(key)
    base = ROOT / "demo" / "base"
    made._do(str(base), str(made.folder / "flake"), str(incus.root), f"{key}.pub")
    made.init({}, key.read_text())
    one: dict[str, object] = {
        "name": INSTANCE,
        "project": incus.project,
        "image": "base",
        "transport": "exec",
        # Masks the network of its profile.
        "devices": {"eth0": {"type": "none"}},
    }
    made.config |= {"hosts": {"web1": {"target": "incus", "incus": one}}}
    try:
        yield made
    finally:
        made.pulumi("destroy", "--yes", "--skip-preview")
        incus.attempt("delete", "--force", INSTANCE)


@pytest.fixture
def workspace(stack: Workspace) -> Workspace:
    """With the instance on v1."""
    stack.reset()
    return stack


@pytest.fixture
def web1(workspace: Workspace) -> IsolatedInstance:
    del workspace
    return IsolatedInstance(Incus.ready())


def system(workspace: Workspace) -> str:
    path = workspace.outputs()["hosts"]["web1"]["toplevel"]
    assert isinstance(path, str)
    return path


def test_an_instance_without_network_runs_the_release(
    workspace: Workspace, web1: IsolatedInstance
) -> None:
    addresses = web1.query("ip", "-brief", "address", "show", "scope", "global")
    assert addresses == ""
    assert web1.answers() == "app v1 on web1"
    assert web1.runs() == web1.boots() == system(workspace)
    again = workspace.up()
    assert again.code == 0, again.text
    assert "created" not in again.text.rpartition("Resources:")[2]
    assert "updated" not in again.text.rpartition("Resources:")[2]


def test_a_release_in_place_and_its_preview(workspace: Workspace, web1: IsolatedInstance) -> None:
    before, uuid = web1.runs(), web1.uuid()
    workspace.write(appRef="v2")
    preview = workspace.preview()
    assert f"web1: {before} → " in preview.text
    assert "packages: app: 1 → 2" in preview.text
    result = workspace.up()
    assert result.code == 0, result.text
    assert web1.answers() == "app v2 on web1"
    assert web1.uuid() == uuid
    assert web1.runs() == web1.boots() == system(workspace) != before


def test_a_broken_release_is_rolled_back(workspace: Workspace, web1: IsolatedInstance) -> None:
    before = web1.runs()
    workspace.write(appRef="v3")
    result = workspace.up()
    assert result.code
    assert "not deployed: web1: unit app-worker.service failed" in result.text
    assert "rolled back to the previous system" in result.text
    assert (web1.runs(), web1.boots(), web1.answers()) == (before, before, "app v1 on web1")


def test_a_manual_switch_is_reported(workspace: Workspace, web1: IsolatedInstance) -> None:
    old = web1.runs()
    workspace.write(appRef="v2")
    assert workspace.up().code == 0
    web1.exec(f"{old}/bin/switch-to-configuration", "test")
    preview = workspace.preview()
    assert f"drifted: it runs {old}" in preview.text


@pytest.mark.parametrize("moment", ["activating", "checking"])
def test_a_killed_deployer_does_not_harm_the_host(
    workspace: Workspace, web1: IsolatedInstance, moment: str
) -> None:
    before = web1.runs()
    workspace.fleet(web1={"activationSeconds": 3, "extraText": moment})
    slow = {"confirm": "6s", "settle": "10s", "checkDeadline": "30s"}
    times = {**workspace.config["activation"], **slow}
    workspace.write(appRef="v2", activation=times)
    with workspace.running("up", "--yes", "--skip-preview") as engine:
        engine.read_until(f"web1: {moment}")
    # `activating` is before the switch: only the end of the attempt says that it ran.
    wait_for(lambda: web1.query("cat", f"{CURRENT}/state").strip() == "rolled-back", seconds=200)
    assert (web1.runs(), web1.boots()) == (before, before)
    workspace.cancel()
    result = workspace.up()
    assert result.code == 0, result.text
    assert web1.runs() == web1.boots() == system(workspace) != before
