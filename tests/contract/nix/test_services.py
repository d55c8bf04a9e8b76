"""Images of services, evaluated by the real nix: this flake's and the app's."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from components.pipeline.config.services import Origin, ServiceSpec
from components.pipeline.deploy import closure
from components.pipeline.errors import EvaluationError, RefError
from components.pipeline.evaluate import service_plan
from components.pipeline.release import nix, release
from components.pipeline.targets.docker.archive import Kind
from components.pipeline.values import AttrPath
from harness.daemons.git_repositories import GitRepositories, commit, git, run, settings

if TYPE_CHECKING:
    from components.pipeline.evaluate.service_plan import ServicePlan

pytest_plugins = ["harness.daemons.servers"]
pytestmark = pytest.mark.contract


@pytest.fixture
def root(repos: GitRepositories, tmp_path: Path) -> Path:
    repos.render(tmp_path / "flake", {})
    return tmp_path


def service(image: str, origin: Origin = Origin.FLAKE, edge: str = "") -> ServiceSpec:
    name = f"{origin}-{image}"
    return ServiceSpec(
        name=name,
        image=AttrPath.parse(image),
        origin=origin,
        edge=AttrPath.parse(edge) if edge else None,
    )


async def planned(
    root: Path, *specs: ServiceSpec, ref: str | None = "v1", app_input: str = "app"
) -> tuple[ServicePlan, ...]:
    wanted = settings("./flake", app_ref=ref, hosts=(), app_input=app_input)
    return await service_plan.plan_services(await release.resolve(wanted, root), specs, app_input)


async def test_the_apps_own_flake_at_the_pinned_commit(root: Path, repos: GitRepositories) -> None:
    """With its own lock; an image of the same name, and the edge, come from this flake."""
    specs = (service("app-image", Origin.APP, edge="app-image"), service("app-image"))
    own, infra = await planned(root, *specs)
    url = f"git+file://{repos.base}/app.git?ref=refs/tags/v1#packages.x86_64-linux.app-image"
    assert own.image.out_path.path == run(*nix.NIX, "eval", "--raw", f"{url}.outPath")
    assert (own.image_name, infra.image_name) == ("app.app-image", "app-image")
    assert own.image.out_path != infra.image.out_path
    assert own.edge == infra.image
    ((later,), (again,)) = await planned(root, specs[0], ref="v2"), await planned(root, specs[0])
    assert later.image.out_path != own.image.out_path
    assert again == own
    await closure.realise(own.builds)
    assert Kind.of(Path(own.image.out_path.path)) is Kind.ARCHIVE


async def test_an_image_that_the_apps_flake_does_not_have(root: Path) -> None:
    with pytest.raises(EvaluationError) as caught:
        await planned(root, service("app-imag", Origin.APP), service("app-imge"))
    assert str(caught.value).splitlines() == [
        (
            "unknown service attribute: app-imag: the app's flake has no "
            "packages.x86_64-linux.app-imag (it has app-image). did you mean app-image?"
        ),
        (
            "unknown service attribute: app-imge: the flake has no packages.x86_64-linux.app-imge "
            "(it has app-image). did you mean app-image?"
        ),
    ]


async def test_an_app_that_is_not_a_flake(
    root: Path, repos: GitRepositories, tmp_path: Path
) -> None:
    app = tmp_path / "plain"
    app.mkdir()
    (app / "VERSION").write_text("1\n")
    commit(app)
    git(repos.base, "clone", "--quiet", "--bare", str(app), f"plain-{tmp_path.name}.git")
    flake = root / "flake" / "flake.nix"
    flake.write_text(flake.read_text().replace("/app.git", f"/plain-{tmp_path.name}.git"))
    run(*nix.NIX, "flake", "lock", f"path:{root / 'flake'}")
    with pytest.raises(RefError) as caught:
        await planned(root, service("app-image", Origin.APP), ref="main")
    text = str(caught.value)
    assert text.startswith(f"cannot read the flake: git+{repos.by_git}/plain-{tmp_path.name}.git: ")
    assert "flake.nix" in text
    assert re.search(r"\Wa service with from: app needs a flake.nix in the app, at main$", text)


async def test_no_app_ref_for_the_apps_flake(root: Path) -> None:
    for ref, app_input in ((None, "app"), ("v1", "other")):
        with pytest.raises(RefError) as caught:
            await planned(root, service("app-image", Origin.APP), ref=ref, app_input=app_input)
        assert str(caught.value).startswith("nothing to pin: ")
        assert "\n" not in str(caught.value)
