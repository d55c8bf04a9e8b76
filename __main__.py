"""A NixOS fleet on one pinned release: config in, every host on its toplevel out."""

from pathlib import Path

from components import outputs
from components.fleet import Fleet, FleetArgs
from components.hosts import observe
from components.pipeline import preflight
from components.pipeline.deploy import plan
from components.pipeline.evaluate import evaluate, host_defaults, service_plan
from components.pipeline.process import concurrency, timings
from components.pipeline.release import nix, release
from components.pipeline.transport import key_lock
from components.services import provider_host
from components.stack import caches, config, entrypoint, owner, preview_pins, release_record


async def main() -> None:
    """Run the stages in the order in which data flows."""
    spans, settings = timings.Timings(), config.load()
    nix.configure(settings.timeouts, settings.caches)
    # `pulumi destroy` runs no program, and reaches a Docker daemon over ssh with the same key.
    if settings.ssh_key and not settings.services.host_key:
        key_lock.hold(config.folder())
    ssh_files = preflight.check(settings, config.folder())
    # Before anything is registered: a run without its daemon leaves the state as it is.
    docker_host = await provider_host.find(settings.services, config.folder())
    label = owner.of_stack(settings)
    observing = spans.timed("observe", observe.observe_hosts(settings, ssh_files, label))
    async with concurrency.background(observing) as observed:
        with spans.span("release"):
            pins = preview_pins.load(config.folder().parent)
            releases = await release.resolve(settings, Path.cwd(), pins)
            preview_pins.save(pins, config.folder().parent)
        with spans.span("evaluate"):
            systems = await evaluate.evaluate_hosts(releases, settings.hosts)
            hosts = settings.resolve_hosts(host_defaults.read(systems, settings.hosts))
            images = await evaluate.evaluate_images(releases, settings.hosts)
            service_plans = await service_plan.plan_services(
                releases, settings.services.specs, settings.app_input
            )
        await caches.report(releases[None].flake, settings)
        plans = plan.plan_hosts(hosts, systems, await observed, images)
    args = FleetArgs(
        plans=plans,
        ssh_files=ssh_files,
        ssh_key=settings.ssh_key,
        owner=label,
        record=release_record.ReleaseRecord(settings, releases),
        timings=spans,
        rollout=settings.rollout,
        provider_host=docker_host,
        services=settings.services,
        service_plans=service_plans,
        disabled=settings.disabled,
    )
    fleet = Fleet("fleet", args)
    await entrypoint.finish(outputs.of(releases[None], fleet, spans), fleet.require_success)


entrypoint.run(main)
