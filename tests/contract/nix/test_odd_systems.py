"""Systems that cannot be deployed as they are: one message each, with the real nix."""

import re
import uuid
from pathlib import Path

import pytest

from components.pipeline.deploy import closure
from components.pipeline.errors import BuildError, EvaluationError
from components.pipeline.evaluate import evaluate
from components.pipeline.evaluate.attribute import EvaluatedAttr, ServiceImage
from components.pipeline.release import nix, release
from components.pipeline.values import AttrPath
from harness.daemons.git_repositories import settings
from tests.unit.hosts import host

pytest_plugins = ["harness.daemons.servers"]
pytestmark = [pytest.mark.contract, pytest.mark.usefixtures("repos")]

FLAKE = """{ outputs = _: let
  fill = names: builtins.concatStringsSep "; " (map (name: "echo >\\$${name}") names);
  make = { outputs ? [ "out" ], ... }@more: derivation ({ name = "nixos-system-%(name)s";
    system = "x86_64-linux"; builder = "/bin/sh"; args = [ "-c" (fill outputs) ]; } // more);
  ca = { __contentAddressed = true; outputHashMode = "recursive"; outputHashAlgo = "sha256"; };
  outputs = names: make { outputs = names; };
  system = toplevel: { config.system.build = { inherit toplevel; }; };
in {
  nixosConfigurations = {
    ca = system (make ca);
    upon-ca = system (make { input = make ca; });
    arm = system (make { system = "aarch64-linux"; });
    feature = system (make { requiredSystemFeatures = [ "flakeup-none" ]; });
    text = system "a text";
    none.config.system.build = { };
    fails = system (throw ("\\nFailed assertions:\\n" + builtins.concatStringsSep "\\n"
      (builtins.genList (n: "- assertion ${toString n} is wrong: ${toString (n * n)}") 50)));
  };
  packages.x86_64-linux = {
    set = { inner = outputs [ "out" ]; };
    parts = outputs [ "bin" "dev" ];
    second = outputs [ "bin" "out" ];
  };
}; }
"""


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NIX_CONFIG", "extra-experimental-features = ca-derivations")
    (tmp_path / "flake").mkdir()
    (tmp_path / "flake/flake.nix").write_text(FLAKE % {"name": uuid.uuid4().hex})
    return tmp_path


async def evaluated(root: Path, name: str) -> EvaluatedAttr:
    hosts = (host(name),)
    releases = await release.resolve(settings("./flake", hosts=hosts), root)
    return (await evaluate.evaluate_hosts(releases, hosts))[name]


async def refused(root: Path, name: str) -> str:
    with pytest.raises(EvaluationError) as caught:
        await evaluated(root, name)
    return str(caught.value)


@pytest.mark.parametrize("name", ["ca", "upon-ca"])
async def test_a_content_addressed_system(root: Path, name: str) -> None:
    text = await refused(root, name)
    assert text.startswith(
        f"no store path before the build: {name}: nixosConfigurations.{name}, or what it is built"
        " from, is content-addressed or impure. "
    )


async def test_what_is_no_system(root: Path) -> None:
    assert (await refused(root, "text")).startswith("not a derivation: text: ")
    text = await refused(root, "none")
    assert text.startswith(
        "not a NixOS system: none: nixosConfigurations.none has no config.system"
    )


async def test_failed_assertions(root: Path) -> None:
    text = await refused(root, "fails")
    lines = text.splitlines()
    assert lines[0] == "the flake does not evaluate: fails: error: Failed assertions:"
    assert lines[1:51] == [f"- assertion {n} is wrong: {n * n}" for n in range(50)]
    assert "builds = map" not in text
    assert len(lines) == 52


async def package(root: Path, name: str) -> EvaluatedAttr:
    here = (await release.resolve(settings("./flake", hosts=()), root))[None]
    image = ServiceImage("x86_64-linux", AttrPath.parse(name))
    (found,) = (await evaluate.evaluate_packages([(here, image)])).values()
    return found


async def test_packages_without_an_output_out(root: Path) -> None:
    with pytest.raises(
        EvaluationError, match=r"^not a derivation: set: packages.x86_64-linux.set "
    ):
        await package(root, "set")
    with pytest.raises(
        EvaluationError, match=r"^no output out: parts: .* has the outputs bin, dev"
    ):
        await package(root, "parts")


async def test_a_package_whose_output_out_is_not_the_first(root: Path) -> None:
    """What is built is what was evaluated."""
    found = await package(root, "second")
    assert not found.out_path.name.endswith("-bin")
    await closure.realise((found,))
    assert nix.is_present(found.out_path)


@pytest.mark.parametrize(
    ("name", "detail"),
    [
        ("arm", "is for aarch64-linux, and this machine builds x86_64-linux"),
        ("feature", "needs a builder with flakeup-none, and this machine has none"),
    ],
)
async def test_a_system_that_no_machine_builds(root: Path, name: str, detail: str) -> None:
    system = await evaluated(root, name)
    with pytest.raises(BuildError) as caught:
        await closure.realise((system,))
    drv = re.escape(system.drv_path.path)
    assert re.match(
        f"no builder: {name}: {drv} {detail}. no host was changed; name a remote builder",
        str(caught.value),
    )
