"""The waves of a rollout."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.pipeline.config.rollout import CANARY_FIRST, Rollout
from components.pipeline.deploy.waves import waves_of

EIGHT = tuple(f"web{number}" for number in (1, 2, 3, 4, 8, 9, 10, 11))


def joined(names: tuple[str, ...], rollout: Rollout) -> str:
    return " | ".join(" ".join(wave) for wave in waves_of(names, rollout))


@pytest.mark.parametrize(
    ("rollout", "waves"),
    [
        (CANARY_FIRST, "web1 | web2 web3 web4 web8 web9 web10 web11"),
        (Rollout(canary=0), "web1 web2 web3 web4 web8 web9 web10 web11"),
        (Rollout(canary=2), "web1 web2 | web3 web4 web8 web9 web10 web11"),
        (Rollout(canary=8), "web1 web2 web3 web4 web8 web9 web10 web11"),
        (Rollout(canary=1000), "web1 web2 web3 web4 web8 web9 web10 web11"),
        (Rollout(canary="web9"), "web9 | web1 web2 web3 web4 web8 web10 web11"),
        (Rollout(canary="db1"), "web1 web2 web3 web4 web8 web9 web10 web11"),
        (Rollout(waves=(2, 5)), "web1 | web2 web3 | web4 web8 web9 web10 web11"),
        (Rollout(waves=(2,)), "web1 | web2 web3 | web4 web8 | web9 web10 | web11"),
        (Rollout(canary=0, waves=(1, 2, 3)), "web1 | web2 web3 | web4 web8 web9 | web10 web11"),
        (Rollout(canary="web11", waves=(1000,)), "web11 | web1 web2 web3 web4 web8 web9 web10"),
        (Rollout(waves=(2,), max_parallel=1), "web1 | web2 web3 | web4 web8 | web9 web10 | web11"),
    ],
)
def test_waves_of_eight_hosts(rollout: Rollout, waves: str) -> None:
    assert joined(EIGHT, rollout) == joined(EIGHT[::-1], rollout) == waves


def test_one_host_and_no_hosts() -> None:
    assert waves_of(["web1"], CANARY_FIRST) == (("web1",),)
    assert waves_of([], Rollout(waves=(2, 5))) == ()


def test_natural_order() -> None:
    names = ("web10", "web2", "1", "web01", "web1", "db", "web", "10", "2", "web1-b", "web1-a2")
    assert joined(names, Rollout(canary=0)) == "1 2 10 db web web01 web1 web1-a2 web1-b web2 web10"


@given(
    names=st.lists(st.text("abW019_-", min_size=1, max_size=5), unique=True, max_size=30),
    canary=st.integers(0, 40) | st.text("abW019_-", max_size=5),
    waves=st.lists(st.integers(1, 40), max_size=5).map(tuple),
)
def test_each_host_is_in_one_wave_of_the_configured_size(
    names: list[str], canary: str | int, waves: tuple[int, ...]
) -> None:
    made = waves_of(names, Rollout(canary=canary, waves=waves))
    assert sorted(name for wave in made for name in wave) == sorted(names)
    assert all(made)
    has_canary = canary in names or (isinstance(canary, int) and canary > 0)
    rest = made[1:] if has_canary else made
    if not waves:
        assert len(rest) <= 1
        return
    sizes = [*waves, *[waves[-1]] * len(names)][: len(rest)]
    assert [len(wave) for wave in rest[:-1]] == sizes[:-1]
    assert all(len(wave) <= size for wave, size in zip(rest, sizes, strict=True))


def test_hosts_named_after_their_domain() -> None:
    names = [f"web-{number}.example.com" for number in (10, 2, 1)]
    rollout = Rollout(canary="web-10.example.com")
    assert waves_of(names, rollout) == (
        ("web-10.example.com",),
        ("web-1.example.com", "web-2.example.com"),
    )
