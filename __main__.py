"""A NixOS fleet on one pinned release: config in, every host on its toplevel out."""

from pathlib import Path

import pulumi

from components import outputs, program, stack_config
from components.fleet import Fleet, FleetArgs
from components.observing import observed
from components.pipeline import evaluate, ground, plan, release, services, transport
from components.pipeline.docker import manager, remote
from components.pipeline.incus import pins
from components.pipeline.stages import Stages
from components.pipeline.tasks import beside
from components.release_record import ReleaseRecord


async def main() -> pulumi.Inputs:
    """Run the stages in the order in which data flows."""
    stages, settings = Stages(), stack_config.load()
    pins.check(host.incus for host in settings.hosts)
    identity = transport.write_identity(stack_config.folder(), settings.hosts, settings.ssh_key)
    remote.pin(settings.services.host, settings.services.host_key, identity)
    await manager.checked(settings.services, stack_config.folder())
    async with beside(stages.timed("observe", observed(settings, identity))) as seen:
        with stages.span("release"):
            releases = await release.resolve(settings, Path.cwd())
        with stages.span("evaluate"):
            systems = await evaluate.evaluate(releases, settings.hosts)
            settings = stack_config.load(ground.grounds(systems, settings.hosts))
            images = await evaluate.evaluate_images(releases, settings.hosts)
            service_plans = await services.planned(
                releases, settings.services.specs, settings.app_input
            )
        plans = plan.decide(settings.hosts, systems, await seen, images)
    args = FleetArgs(
        plans=plans,
        identity=identity,
        ssh_key=settings.ssh_key,
        record=ReleaseRecord(settings, releases),
        stages=stages,
        rollout=settings.rollout,
        services=settings.services,
        service_plans=service_plans,
        left_out=settings.left_out,
    )
    fleet = Fleet("fleet", args)
    return outputs.of(releases[None], fleet, stages)


program.run(main)
