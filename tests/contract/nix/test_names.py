"""Systems named after their domain, and packages below a path, with the real nix."""

from pathlib import Path

import pytest

from components.pipeline.config.services import ServiceSpec
from components.pipeline.errors import EvaluationError
from components.pipeline.evaluate import evaluate, service_plan
from components.pipeline.release import nix, release
from components.pipeline.values import AttrPath
from harness.daemons.git_repositories import run, settings
from tests.unit.hosts import host

pytestmark = pytest.mark.contract

FLAKE = """
{
  outputs =
    _:
    let
      made =
        name:
        derivation {
          name = builtins.replaceStrings [ "@" ] [ "-" ] name;
          system = "x86_64-linux";
          builder = "/bin/sh";
        };
    in
    {
      nixosConfigurations = builtins.listToAttrs (
        map (name: {
          inherit name;
          value.config.system.build.toplevel = made name;
        }) [ "web-1.example.com" "ops+1@web-1.example.com" "web-1" ]
      );
      packages.x86_64-linux = {
        app = made "app";
        images = {
          web = made "nested";
          "web.1" = made "quoted";
        };
        "images.web" = made "flat";
      };
    };
}
"""
NAMES = ("web-1.example.com", "ops+1@web-1.example.com", "web-1")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    flake = tmp_path / "flake"
    flake.mkdir()
    (flake / "flake.nix").write_text(FLAKE)
    run(*nix.NIX, "flake", "lock", f"path:{flake}")
    return tmp_path


def service(image: str) -> ServiceSpec:
    return ServiceSpec(name="app", image=AttrPath.parse(image))


async def test_a_system_is_one_name_also_with_dots(root: Path) -> None:
    hosts = tuple(host(name) for name in NAMES)
    releases = await release.resolve(settings("./flake", app_ref=None, hosts=hosts), root)
    found = await evaluate.evaluate_hosts(releases, hosts)
    assert {name: system.attr for name, system in found.items()} == {name: name for name in NAMES}
    assert [found[name].out_path.name for name in NAMES] == [
        "web-1.example.com",
        "ops+1-web-1.example.com",
        "web-1",
    ]


async def test_a_name_that_the_flake_does_not_have(root: Path) -> None:
    hosts = (host("web-2.example.com"),)
    releases = await release.resolve(settings("./flake", app_ref=None, hosts=hosts), root)
    with pytest.raises(EvaluationError) as caught:
        await evaluate.evaluate_hosts(releases, hosts)
    assert str(caught.value) == (
        "unknown host attribute: web-2.example.com: the flake has no "
        'nixosConfigurations."web-2.example.com" '
        "(it has ops+1@web-1.example.com, web-1, web-1.example.com). "
        "did you mean web-1.example.com?"
    )


@pytest.mark.parametrize(
    ("image", "built"),
    [
        ("app", "app"),
        ("images.web", "nested"),
        ('images."web.1"', "quoted"),
        ('"images.web"', "flat"),
    ],
)
async def test_the_path_of_an_image(root: Path, image: str, built: str) -> None:
    releases = await release.resolve(settings("./flake", app_ref=None, hosts=()), root)
    (plan,) = await service_plan.plan_services(releases, (service(image),), "app")
    assert plan.image.out_path.name == built
    assert plan.image.attr == image


async def test_a_path_that_the_flake_does_not_have(root: Path) -> None:
    releases = await release.resolve(settings("./flake", app_ref=None, hosts=()), root)
    with pytest.raises(EvaluationError) as caught:
        await service_plan.plan_services(releases, (service("images.wbe"),), "app")
    assert str(caught.value) == (
        "unknown service attribute: images.wbe: the flake has no packages.x86_64-linux.images.wbe "
        "(it has web, web.1). did you mean images.web?"
    )
