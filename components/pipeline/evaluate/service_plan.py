"""The services of a release with their evaluated images."""

from collections.abc import Iterable
from dataclasses import dataclass

from ..config.services import Origin, ServiceSpec, System
from ..release import release
from ..release.release import Release
from ..values import AttrPath, Ref
from .attribute import Attribute, EvaluatedAttr, ServiceImage
from .evaluate import evaluate_packages


@dataclass(frozen=True, slots=True, kw_only=True)
class ServicePlan:
    """One service, its image, and its edge's image."""

    spec: ServiceSpec
    image: EvaluatedAttr
    edge: EvaluatedAttr | None = None

    @property
    def image_name(self) -> str:
        """The image's name in the program; both flakes may have an image of that name."""
        name = self._name(self.spec.image)
        return f"app.{name}" if self.spec.origin is Origin.APP else name

    @property
    def edge_name(self) -> str:
        """The name of the edge's image in the program."""
        return self._name(self.spec.edge) if self.spec.edge else ""

    def _name(self, path: AttrPath) -> str:
        system = self.spec.system.value
        return path.label if system == System.X86_64 else f"{path.label}.{system}"

    @property
    def builds(self) -> tuple[EvaluatedAttr, ...]:
        """All that has to be built for it."""
        return (self.image, self.edge) if self.edge else (self.image,)


async def plan_services(
    releases: dict[Ref | None, Release], specs: Iterable[ServiceSpec], app_input: str
) -> tuple[ServicePlan, ...]:
    """Evaluate the images of all services.

    Raises:
        RefError: a service needs the app's own flake, which cannot be used.
        EvaluationError: one message for all that do not evaluate.
    """
    specs, homes = tuple(specs), {Origin.FLAKE: releases[None]}
    if any(spec.origin is Origin.APP for spec in specs):
        homes[Origin.APP] = await release.app_release(releases[None], app_input)

    def of(spec: ServiceSpec, path: AttrPath, origin: Origin) -> tuple[Release, Attribute]:
        return homes[origin], ServiceImage(spec.system.value, path)

    images = {spec.name: of(spec, spec.image, spec.origin) for spec in specs}
    edges = {spec.name: of(spec, spec.edge, Origin.FLAKE) for spec in specs if spec.edge}
    found = await evaluate_packages((*images.values(), *edges.values()))

    def system(home: Release, attribute: Attribute) -> EvaluatedAttr:
        return found[home.lock, attribute]

    return tuple(
        ServicePlan(
            spec=spec,
            image=system(*images[spec.name]),
            edge=system(*edges[spec.name]) if spec.edge else None,
        )
        for spec in specs
    )
