"""Times as the provider of swarms reads them back."""

import pytest

from components.pipeline.targets.docker.swarm import go_duration


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (0, "0s"),
        (10, "10s"),
        (60, "1m"),
        (90, "1m30s"),
        (600, "10m"),
        (3600, "1h"),
        (3601, "1h0m1s"),
        (5400, "1h30m"),
        (36000, "10h"),
    ],
)
def test_a_time_is_as_short_as_the_provider_makes_it(seconds: int, told: str) -> None:
    """Written in another way it would be a change at each `up`."""
    assert go_duration(seconds) == told
