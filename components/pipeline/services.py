"""Services of a release: each with the images that it runs, as evaluation knows them."""

from collections.abc import Iterable
from dataclasses import dataclass

from components.pipeline.attribute import Attribute
from components.pipeline.docker.spec import ServiceSpec
from components.pipeline.evaluate import System, evaluate_packages
from components.pipeline.grammar import Attr, Ref
from components.pipeline.release import Release


@dataclass(frozen=True, slots=True, kw_only=True)
class ServicePlan:
    """One service, its image, and that of its edge."""

    spec: ServiceSpec
    image: System
    edge: System | None = None

    @property
    def builds(self) -> tuple[System, ...]:
        """All that has to be built for it."""
        return (self.image, *((self.edge,) if self.edge else ()))


async def planned(
    releases: dict[Ref | None, Release], specs: Iterable[ServiceSpec]
) -> tuple[ServicePlan, ...]:
    """Evaluate the images of all services.

    Raises:
        EvaluationError: one message for all that do not evaluate.
    """
    specs = tuple(specs)
    wanted = {_of(spec, attr) for spec in specs for attr in (spec.image, spec.edge) if attr}
    found = await evaluate_packages(releases, sorted(wanted, key=lambda one: one.path))
    return tuple(
        ServicePlan(
            spec=spec,
            image=found[_of(spec, spec.image)],
            edge=found[_of(spec, spec.edge)] if spec.edge else None,
        )
        for spec in specs
    )


def _of(spec: ServiceSpec, attr: Attr) -> Attribute:
    return Attribute.package(spec.system.value, attr.text)
