"""The `docker` plugin over gRPC, without a daemon: the package, checks, previews, diffs.

Runs against the stand-in, or against the binary that FLAKEUP_DOCKER_PLUGIN names.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from google.protobuf import empty_pb2
from pulumi.runtime.proto import provider_pb2

from harness.daemons.daemon_proxy import DaemonProxy
from harness.daemons.docker_fixtures import HEALTHY
from harness.providers.docker_driver import (
    CONTAINER,
    NETWORK,
    VOLUME,
    Plugin,
    ResourceState,
    is_stand_in,
)
from harness.providers.plugin_driver import (
    UNKNOWN,
    failing,
    from_struct,
    is_secret,
    secret,
    to_struct,
    urn,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from harness.daemons.dockerd import Dockerd
    from harness.unix_http import Json

pytestmark = pytest.mark.contract
own_only = pytest.mark.skipif(not is_stand_in(), reason="FLAKEUP_DOCKER_PLUGIN names a release")


@pytest.fixture(scope="module")
def offline() -> Iterator[Plugin]:
    """A plugin without a daemon, for calls that need none; it is asked if it is not one of ssh."""
    with Plugin.start({"host": "ssh://nobody@nowhere.invalid"}) as running:
        yield running


def test_a_daemon_that_does_not_answer_is_an_error_in_each_configuration(tmp_path: Path) -> None:
    with failing(
        "docker native provider returned an unexpected error from Configure: "
        "failed to connect to any docker daemon"
    ):
        Plugin.start({"host": f"unix://{tmp_path}/docker.sock"})


# The package, checks, previews.


def test_it_reports_the_version_of_the_release(offline: Plugin) -> None:
    assert offline.call("GetPluginInfo", empty_pb2.Empty()).version.removeprefix("v") == "5.2.0"


def test_schema_contains_the_resource_types(offline: Plugin) -> None:
    schema = json.loads(offline.call("GetSchema", provider_pb2.GetSchemaRequest()).schema)
    assert {CONTAINER, NETWORK, VOLUME} <= schema["resources"].keys()
    container = schema["resources"][CONTAINER]
    assert container["requiredInputs"] == ["image"]
    assert container["inputProperties"]["ports"]["items"]["$ref"] in {
        f"#/types/{token}" for token in schema["types"]
    }
    assert "host" in schema["config"]["variables"]


@own_only
def test_the_error_for_an_unsupported_resource_names_the_remedy(offline: Plugin) -> None:
    with failing("docker:index/image:Image", "install the released plugin"):
        offline.check("docker:index/image:Image", {})
    _, failures = offline.check(CONTAINER, {"image": "x", "gpus": "all"}, name="it")
    assert failures == ["gpus: gpus needs the released pulumi-docker plugin: leave it out"]


def test_check_adds_defaults_and_notes_them(offline: Plugin) -> None:
    inputs = offline.checked(CONTAINER, {"image": "x", "ports": [{"internal": 80}]}, name="web")
    expected = {"mustRun": True, "restart": "no", "networkMode": "bridge", "waitTimeout": 60.0}
    assert {name: inputs[name] for name in expected} == expected
    assert {*expected, "name"} <= set(inputs["__defaults"])
    assert "image" not in inputs["__defaults"]
    (port,) = inputs["ports"]
    assert (port["ip"], port["protocol"]) == ("0.0.0.0", "tcp")  # noqa: S104 the default
    assert port["__defaults"] == ["ip", "protocol"]
    # There is no default grace period.
    assert "destroyGraceSeconds" not in inputs


@pytest.mark.parametrize("kind", [CONTAINER, NETWORK, VOLUME])
def test_a_name_is_generated_once(offline: Plugin, kind: str) -> None:
    given = {"image": "x"} if kind == CONTAINER else {}
    first, _ = offline.check(kind, given, name="web", seed=b"1")
    assert first["name"].startswith("web-")
    assert len(first["name"]) == len("web-") + 7
    # The same in preview and update, kept afterwards, and a new one for a replacement.
    assert offline.check(kind, given, name="web", seed=b"1")[0]["name"] == first["name"]
    again, _ = offline.check(kind, given, name="web", seed=b"2", old=first)
    assert again["name"] == first["name"]
    assert offline.check(kind, given, name="web", seed=b"2")[0]["name"] != first["name"]
    chosen, _ = offline.check(kind, {**given, "name": "mine"}, name="web")
    assert chosen["name"] == "mine"
    assert "name" not in chosen["__defaults"]


@own_only
@pytest.mark.parametrize(
    ("inputs", "failure"),
    [
        ({}, f"image: image is missing: {CONTAINER} requires it"),
        ({"image": 1}, "image: image must be a string, not a number"),
        ({"image": "x", "imag": "x"}, f"imag: imag is not a property of {CONTAINER}"),
        ({"image": "x", "ports": [{}]}, "ports[0].internal: ports[0].internal is missing"),
        ({"image": "x", "restart": "maybe"}, "restart: restart must be one of no, on-failure, "),
        ({"image": "x", "healthcheck": {"interval": "soon"}}, "healthcheck.interval: "),
        ({"image": "x", "envs": "A=b"}, "envs: envs must be a list, not a string"),
    ],
)
def test_check_rejects_invalid_inputs(offline: Plugin, inputs: Json, failure: str) -> None:
    _, failures = offline.check(CONTAINER, inputs, name="it")
    assert len(failures) == 1
    assert failures[0].startswith(failure)


def test_check_accepts_unknown_values_and_keeps_secrets(offline: Plugin) -> None:
    given = {"image": UNKNOWN, "envs": secret(["A=b"]), "ports": [{"internal": UNKNOWN}]}
    inputs = offline.checked(CONTAINER, given, name="it")
    assert inputs["image"] == UNKNOWN
    assert is_secret(inputs["envs"])


def test_a_preview_does_not_ask_the_daemon(offline: Plugin) -> None:
    inputs = offline.checked(CONTAINER, {"image": "x"}, name="it")
    request = provider_pb2.CreateRequest(
        urn=urn(CONTAINER), properties=to_struct(inputs), preview=True
    )
    state = from_struct(offline.call("Create", request).properties)
    assert state["image"] == "x"
    assert (state["hostname"], state["networkDatas"]) == (UNKNOWN, UNKNOWN)


def test_an_unreachable_daemon_is_reported_on_one_line(tmp_path: Path, dockerd: Dockerd) -> None:
    with (
        DaemonProxy(tmp_path / "docker.sock", dockerd.socket) as proxy,
        Plugin.start({"host": proxy.host}) as plugin,
        proxy.down(),
        failing(f"Error pinging Docker server, please make sure that {proxy.host}"),
    ):
        plugin.create_resource(CONTAINER, {"image": "x"}, name="it")


@own_only
def test_the_error_for_an_invalid_address_shows_valid_ones() -> None:
    with failing("write unix://PATH"):
        Plugin.start({"host": "docker.example"})


# Diff.

WEB = {"internal": 80, "external": 8080}
SSH = {"internal": 22, "external": 2222}


@pytest.mark.parametrize(
    ("old", "new", "kinds"),
    [
        ({}, {}, {}),
        ({}, {"image": "y"}, {"image": "UPDATE_REPLACE"}),
        ({}, {"image": UNKNOWN}, {"image": "UPDATE_REPLACE"}),
        ({}, {"envs": ["A=b"]}, {"envs": "ADD_REPLACE"}),
        ({}, {"restart": "always"}, {"restart": "UPDATE"}),
        ({"memory": 64}, {"memory": 128}, {"memory": "UPDATE"}),
        ({"memory": 64}, {}, {"memory": "DELETE"}),
        ({}, {"mustRun": False}, {"mustRun": "UPDATE"}),
        ({}, {"destroyGraceSeconds": 5}, {"destroyGraceSeconds": "ADD"}),
        # Sets have no order, and computed values are no change.
        ({"envs": ["A=b", "C=d"]}, {"envs": ["C=d", "A=b"]}, {}),
        ({"envs": ["A=b"]}, {}, {}),
        ({"hostname": "h"}, {}, {}),
        ({"envs": ["A=b"]}, {"envs": secret(["A=b"])}, {}),
        ({"ports": [WEB, SSH]}, {"ports": [SSH, WEB]}, {}),
        ({"ports": [WEB]}, {"ports": [{"internal": 80}]}, {}),
        ({"ports": [WEB]}, {"ports": [{**WEB, "external": 81}]},
         {"ports[0].external": "UPDATE_REPLACE"}),
        # Updates in place that change the state only.
        ({"healthcheck": HEALTHY}, {"healthcheck": {**HEALTHY, "interval": "2s"}},
         {"healthcheck.interval": "UPDATE"}),
        ({"healthcheck": HEALTHY}, {}, {}),
        ({}, {"tmpfs": {"/run": ""}}, {"tmpfs": "ADD"}),
        ({}, {"init": True}, {"init": "ADD"}),
    ],
)  # fmt: skip
def test_which_changes_replace(offline: Plugin, old: Json, new: Json, kinds: Json) -> None:
    inputs = offline.checked(CONTAINER, {"image": "x", **old}, name="it")
    before = ResourceState(kind=CONTAINER, id="x", inputs=inputs, state=inputs)
    changes = offline.diff_resource(before, {"image": "x", **new})
    assert changes.kinds == kinds
    # The old container is always deleted first.
    assert changes.deletes_first == changes.replaces


@pytest.mark.parametrize("kind", [NETWORK, VOLUME])
def test_a_given_name_is_deleted_first(offline: Plugin, kind: str) -> None:
    change = {"labels": [{"label": "a", "value": "b"}]}
    for given, first in (({"name": "mine"}, True), ({}, False)):
        inputs = offline.checked(kind, given, name="it")
        before = ResourceState(kind=kind, id="x", inputs=inputs, state=inputs)
        changes = offline.diff_resource(before, {**given, **change})
        assert changes.kinds == {"labels": "ADD_REPLACE"}
        assert changes.deletes_first == first
