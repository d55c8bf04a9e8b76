"""The stack's outputs, for people and other stacks; the program does not read them."""

import pulumi

from .fleet import Fleet
from .pipeline.process.timings import Timings
from .pipeline.release.release import Release


def of(release: Release, fleet: Fleet, timings: Timings) -> pulumi.Inputs:
    """`release{appRef,appRev,flakeRev}`, `hosts{name:{toplevel,outcome}}`, `services{name:…}`.

    With a registry also `images{name:…@sha256:…}`. Once all are known, the timings are logged.
    """
    app, pin = release.app, release.flake.pin
    # Without arguments, `all` gives a list.
    hosts = pulumi.Output.all(**fleet.outputs) if fleet.outputs else pulumi.Output.from_input({})
    pulumi.Output.all(hosts, *fleet.services.values()).apply(lambda _: _log_timings(timings))
    return {
        "release": {
            "appRef": app.ref.text if app and app.ref else None,
            "appRev": app.rev.text if app else None,
            "flakeRev": pin.rev.text if pin else None,
        },
        "hosts": hosts,
        **({"services": fleet.services} if fleet.services else {}),
        **({"images": fleet.pushed} if fleet.pushed else {}),
    }


def _log_timings(timings: Timings) -> None:
    if not pulumi.runtime.is_dry_run():
        pulumi.log.info(str(timings))
