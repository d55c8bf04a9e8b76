"""The steps of an `up` that brings a service to another release, by what the daemon is asked."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Step:
    """A step of an `up`: the request at which it is held, and what is there by then."""

    name: str
    request: str
    containers: int = 2
    candidates: int = 0


LOAD = Step("load", "^POST /images/load")
TRIAL = Step("trial", "^GET /containers/app-trial-[0-9a-f]{8}/json", candidates=1)
CONTAINER = Step("container", r"^GET /v1\.\d+/containers/[0-9a-f]{64}/json", containers=3)
TRAFFIC = Step("traffic", "^POST /containers/.*/kill", containers=3)
STEPS = (LOAD, TRIAL, CONTAINER, TRAFFIC)
