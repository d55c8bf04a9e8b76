"""The names of a service's images in the program."""

from dataclasses import replace

from components.pipeline.config import services
from components.pipeline.config.services import Origin, ServiceSpec
from components.pipeline.evaluate.attribute import EvaluatedAttr
from components.pipeline.evaluate.service_plan import ServicePlan
from components.pipeline.values import AttrPath, StorePath

OUT = StorePath(f"/nix/store/{'a' * 32}-image.tar")


def test_images_of_the_same_name_have_distinct_names_in_the_program() -> None:
    """From both flakes, and for both architectures."""
    image = EvaluatedAttr(attr="x", drv_path=OUT, out_path=OUT)
    plan = ServicePlan(
        spec=ServiceSpec(name="app", image=AttrPath.parse("app"), edge=AttrPath.parse("edge")),
        image=image,
        edge=image,
    )
    arm = replace(plan, spec=replace(plan.spec, system=services.System.AARCH64))
    own = replace(arm, spec=replace(arm.spec, origin=Origin.APP))
    assert (plan.image_name, plan.edge_name) == ("app", "edge")
    assert (arm.image_name, arm.edge_name) == ("app.aarch64-linux", "edge.aarch64-linux")
    assert own.image_name == "app.app.aarch64-linux"


def test_no_two_images_have_the_same_name_in_the_program() -> None:
    """A path with dots is not an image of the app's flake, or one for another system."""
    image = EvaluatedAttr(attr="x", drv_path=OUT, out_path=OUT)

    def name(text: str, origin: Origin = Origin.FLAKE, system: str = "x86_64-linux") -> str:
        spec = ServiceSpec(
            name="web", image=AttrPath.parse(text), origin=origin, system=services.System(system)
        )
        return ServicePlan(spec=spec, image=image).image_name

    names = [
        name("web"),
        name("web", Origin.APP),
        name("app.web"),
        name('"app.web"'),
        name("web", system="aarch64-linux"),
        name("web.aarch64-linux"),
        name('"web.aarch64-linux"'),
        name("app.web", Origin.APP, "aarch64-linux"),
    ]
    assert names[:3] == ["web", "app.web", "app/web"]
    assert len(set(names)) == len(names)
