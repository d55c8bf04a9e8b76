"""Whose the containers of a service are: two clones, a lost state, other names, an upgrade."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.docker_stack import RUN, DockerInspector, DockerStack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from harness.command_result import CommandResult, Json
    from harness.daemons.daemon_proxy import DaemonProxy

pytestmark = pytest.mark.e2e
NAME = f"{RUN}-own"
STACK = f"flakeup/{NAME}"
OWNED = f"flakeup.owner={STACK}"
SIZE = 16
"""Resources of a stack with one `blue-green` service."""


class Clone(DockerStack):
    """A clone of the project with a backend of its own; all have the same names."""

    name = NAME
    app = f"{RUN}-own-app"
    edge = f"{RUN}-own-edge"

    @property
    def owner(self) -> str:
        """Of its containers, by the state."""
        (found,) = (
            str(one["outputs"]["input"])
            for one in self.state()["resources"]
            if one["urn"].endswith("pulumi:index:Stash::owner")
        )
        return found


@pytest.fixture
def make(
    docker_place: Path,
    docker_proxy: DaemonProxy,
    docker_inspector: DockerInspector,
    parts: dict[str, dict[str, Any]],
    request: pytest.FixtureRequest,
) -> Iterator[Callable[..., Clone]]:
    """Make clones, with changes of their service."""
    folder = docker_place / str(request.node.name)[:20]
    layer, made = str(parts["edge"]["layer"]), list[Clone]()

    def clone(**changes: Any) -> Clone:
        one = Clone.with_service(folder / str(len(made)), layer, docker_proxy)
        assert isinstance(one, Clone)
        one.config["services"] = {"app": one.service(**changes)}
        one.write(appRef="v1")
        made.append(one)
        return one

    yield clone
    for one in made:
        one.pulumi("destroy", "--yes", "--skip-preview")
    docker_inspector.clean(NAME)
    shutil.rmtree(folder)


def good(result: CommandResult, **summary: int) -> CommandResult:
    assert (result.code, result.summary()) == (0, summary), result.text
    return result


def refused(result: CommandResult) -> str:
    """The one error of a run that was refused."""
    assert result.code != 0
    (error,) = result.errors()
    assert "Traceback" not in result.text
    return error


def assert_only(stack: Clone, inspector: DockerInspector, release: str) -> None:
    """Check that the stack serves, and that there is nothing else of its name."""
    assert stack.http_get() == f"app {release} on docker"
    everything = [*inspector.containers(OWNED), *inspector.containers(f"{OWNED}/")]
    assert sorted(set(everything)) == sorted(stack.containers().values())


def test_two_clones_of_one_name_and_a_lost_state(
    make: Callable[..., Clone], docker_inspector: DockerInspector
) -> None:
    ours, theirs = make(), make()
    planned = ours.pulumi("preview")
    good(planned, create=SIZE)
    good(ours.up(), created=SIZE)
    assert ours.owner.rpartition("/")[0] == STACK
    assert_only(ours, docker_inspector, "v1")
    running = docker_inspector.containers(f"{OWNED}/")

    # The second clone has the same project, stack and service, another backend and other ports.
    names = ", ".join(sorted(running))
    wanted = (
        f"service exists: app ({theirs.config['docker']['host']}): it belongs to {ours.owner}, and "
        f"is not in this stack's state: {names}. rename this stack, or use another daemon; if its "
        f"state was lost, `pulumi config set owner {ours.owner}` takes over all that has this label"
    )
    assert refused(theirs.pulumi("preview")) == wanted
    assert refused(theirs.up()).endswith(wanted)
    # Its owner is in its state now, and is another one.
    assert theirs.owner != ours.owner
    assert refused(theirs.pulumi("preview")) == wanted
    assert_only(ours, docker_inspector, "v1")
    assert docker_inspector.containers(f"{OWNED}/") == running
    # What it has made is removed, nothing else.
    assert theirs.pulumi("destroy", "--yes", "--skip-preview").code == 0
    assert_only(ours, docker_inspector, "v1")
    good(ours.up("--refresh"), unchanged=SIZE)

    # As if it were the first, whose state was lost: it takes over what is there.
    theirs.config["owner"] = ours.owner
    theirs.write(appRef="v2")
    assert theirs.up().code == 0
    assert_only(theirs, docker_inspector, "v2")
    del theirs.config["owner"]
    theirs.write(appRef="v2")
    good(theirs.up(), unchanged=SIZE)
    assert theirs.owner == ours.owner
    shutil.rmtree(ours.backend.state)


def test_another_name_and_another_backend_change_nothing(
    make: Callable[..., Clone], docker_inspector: DockerInspector, tmp_path: Path
) -> None:
    """Of a service that is its own port's owner: its candidate must not ask for that."""
    stack = make(strategy="recreate", edge=None)
    assert stack.up().code == 0
    before = docker_inspector.daemon.container(stack.containers()["app"])
    size = stack.up().summary()["unchanged"]

    stack._do("pulumi", "stack", "rename", f"{NAME}-eu.1")
    stack.name = f"{NAME}-eu.1"
    good(stack.pulumi("preview", "--expect-no-changes"), unchanged=size)
    good(stack.up(), unchanged=size)
    after = docker_inspector.daemon.container(stack.containers()["app"])
    assert after["Id"] == before["Id"]
    assert after["State"]["StartedAt"] == before["State"]["StartedAt"]
    stack.write(appRef="v2")
    assert stack.up().code == 0
    assert stack.http_get() == "app v2 on docker"
    assert_only(stack, docker_inspector, "v2")

    # The project gets another name, too.
    stack._do("pulumi", "stack", "rename", f"organization/shop/{stack.name}")
    file = stack.folder / "Pulumi.yaml"
    text = file.read_text().replace("name: flakeup", "name: shop", 1)
    file.unlink()
    file.write_text(text)
    stack.project = "shop"
    stack.write(appRef="v2")
    good(stack.up(), unchanged=size)

    # The state moves to another backend.
    moved = tmp_path / "moved"
    stack.backend.state.rename(moved)
    stack.backend = replace(stack.backend, state=moved)
    good(stack.up("--refresh"), unchanged=size)
    stack.write(appRef="v1")
    assert stack.up().code == 0
    assert_only(stack, docker_inspector, "v1")


def test_a_state_from_before_there_were_owners(
    make: Callable[..., Clone], docker_inspector: DockerInspector
) -> None:
    """Labels were PROJECT/STACK: nothing is removed until somebody has said whose they are."""
    stack = make()
    stack.config["owner"] = STACK
    stack.write(appRef="v1")
    good(stack.up(), created=SIZE)
    running = docker_inspector.containers(OWNED)
    assert len(running) == 2
    _without_owner(stack)
    del stack.config["owner"]
    stack.write(appRef="v2")
    before = (
        f"no owner in the state: app-candidate of {STACK}: what it has made is labelled {STACK}, "
        f"as other stacks may be labelled too. `pulumi config set owner {STACK}` keeps all of it "
        "as it is"
    )
    found = f"it belongs to {STACK}, and is not in this stack's state: {', '.join(running)}. "
    for result, wanted in ((stack.pulumi("preview"), before), (stack.up(), found)):
        assert wanted in result.text
        assert result.code != 0
        assert docker_inspector.containers(OWNED) == running
        assert stack.http_get() == "app v1 on docker"
    stack.config["owner"] = STACK
    stack.write(appRef="v1")
    assert stack.up().code == 0
    assert docker_inspector.containers(OWNED) == running
    stack.write(appRef="v2")
    assert stack.up().code == 0
    assert_only(stack, docker_inspector, "v2")


def _without_owner(stack: Clone) -> None:
    """Make the state what an earlier version has written."""
    whole: Json = stack.pulumi("stack", "export").json
    kept = [one for one in whole["deployment"]["resources"] if not one["urn"].endswith("::owner")]
    for one in kept:
        for part in ("inputs", "outputs"):
            if one["type"].startswith("flakeup:"):
                one.get(part, {}).pop("owner", None)
        one["dependencies"] = [
            urn for urn in one.get("dependencies", ()) if not urn.endswith("::owner")
        ]
        dependencies = one.get("propertyDependencies") or {}
        one["propertyDependencies"] = {
            name: [urn for urn in urns if not urn.endswith("::owner")]
            for name, urns in dependencies.items()
        }
    whole["deployment"]["resources"] = kept
    file = stack.folder / "state.json"
    file.write_text(json.dumps(whole))
    stack._do("pulumi", "stack", "import", "--file", str(file))
