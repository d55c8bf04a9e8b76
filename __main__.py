"""A NixOS fleet on one pinned release: config in, every host on its toplevel out."""

from pathlib import Path

import pulumi

from components import outputs
from components.fleet import Fleet, FleetArgs
from components.hosts.observe import observed
from components.pipeline.deploy import plan
from components.pipeline.evaluate import evaluate, host_defaults, service_plan
from components.pipeline.process.concurrency import background
from components.pipeline.process.timings import Timings
from components.pipeline.release import release
from components.pipeline.targets.docker import remote
from components.pipeline.targets.incus import preflight as incus_preflight
from components.pipeline.transport import ssh
from components.stack import config, entrypoint
from components.stack.release_record import ReleaseRecord


async def main() -> pulumi.Inputs:
    """Run the stages in the order in which data flows."""
    timings, settings = Timings(), config.load()
    incus_preflight.check(host.incus for host in settings.hosts)
    ssh_files = ssh.write_ssh_files(config.folder(), settings.hosts, settings.ssh_key)
    remote.pin(settings.services.host, settings.services.host_key, ssh_files)
    async with background(timings.timed("observe", observed(settings, ssh_files))) as seen:
        with timings.span("release"):
            releases = await release.resolve(settings, Path.cwd())
        with timings.span("evaluate"):
            systems = await evaluate.evaluate(releases, settings.hosts)
            settings = config.load(host_defaults.grounds(systems, settings.hosts))
            images = await evaluate.evaluate_images(releases, settings.hosts)
            service_plans = await service_plan.planned(
                releases, settings.services.specs, settings.app_input
            )
        plans = plan.decide(settings.hosts, systems, await seen, images)
    args = FleetArgs(
        plans=plans,
        ssh_files=ssh_files,
        ssh_key=settings.ssh_key,
        record=ReleaseRecord(settings, releases),
        timings=timings,
        rollout=settings.rollout,
        services=settings.services,
        service_plans=service_plans,
        disabled=settings.disabled,
    )
    fleet = Fleet("fleet", args)
    return outputs.of(releases[None], fleet, timings)


entrypoint.run(main)
