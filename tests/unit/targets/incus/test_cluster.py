"""Whether a changed `member` may stay in the config."""

from dataclasses import replace

import pytest

from components.pipeline.errors import IncusError
from components.pipeline.targets.incus.cluster import refuse_move
from components.pipeline.targets.incus.observed import DesiredInstance, InstanceState

OLD = DesiredInstance(name="a", member="node2", config_path="hosts.web1.incus")
SEEN = InstanceState.of(
    {"name": "a", "status": "Running", "config": {}, "profiles": [], "devices": {}}
    | {"location": "node2"}
)


@pytest.mark.parametrize(
    ("member", "there"),
    [("node2", "node2"), ("node2", "node1"), ("node1", "node1"), ("", "node1")],
    ids=["unchanged", "evacuated", "moved by hand", "left to the server"],
)
def test_the_instance_is_left_where_it_is(member: str, there: str) -> None:
    refuse_move(replace(SEEN, member=there), OLD, replace(OLD, member=member), "local", "default")


def test_another_member_is_refused_with_the_command_that_moves_it() -> None:
    with pytest.raises(IncusError) as caught:
        refuse_move(SEEN, OLD, replace(OLD, member="node1"), "west", "shop")
    assert str(caught.value) == (
        "an existing instance is not moved: a (west, project shop): it is on node2, and "
        "`hosts.web1.incus.member` is node1. set `hosts.web1.incus.member` back to node2, or stop "
        "the instance and move it: `incus move west:a --target node1 --project shop`"
    )


def test_a_member_on_a_server_that_is_not_clustered_is_refused() -> None:
    with pytest.raises(
        IncusError, match=r"no such cluster member: a .local, project default.: .*remove"
    ):
        refuse_move(replace(SEEN, member=""), OLD, replace(OLD, member="node1"), "local", "default")
