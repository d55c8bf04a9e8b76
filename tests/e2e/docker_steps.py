"""The steps of an `up` to another release of a service, by their requests to the daemon."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Step:
    """A step of an `up`: the request at which it is stopped, and what exists by then."""

    name: str
    request: str
    containers: int = 2
    candidates: int = 0


LOAD = Step("load", "^POST /images/load")
CANDIDATE = Step("candidate", "^GET /containers/app-candidate-[0-9a-f]{8}/json", candidates=1)
CONTAINER = Step("container", r"^GET /v1\.\d+/containers/[0-9a-f]{64}/json", containers=3)
TRAFFIC = Step("traffic", "^POST /containers/.*/kill", containers=3)
STEPS = (LOAD, CANDIDATE, CONTAINER, TRAFFIC)
