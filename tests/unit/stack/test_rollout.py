"""Slots of a wave, and what a failure leaves untouched."""

import asyncio
from dataclasses import dataclass, field

import pulumi
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from components.pipeline.errors import ActivationError
from components.stack.rollout import HostStatus, RolloutTracker


class Component(pulumi.Resource):
    """A resource for messages: nothing is registered, since there is no engine."""

    def __init__(self) -> None:
        pass


COMPONENT = Component()
Messages = list[tuple[str, object]]


@pytest.fixture
def messages(monkeypatch: pytest.MonkeyPatch) -> Messages:
    """The messages to the engine, with their resources."""
    recorded: Messages = []
    monkeypatch.setattr(
        pulumi.log, "warn", lambda text, resource: recorded.append((text, resource))
    )
    return recorded


def of(*waves: tuple[str, ...], max_parallel: int | None = None) -> RolloutTracker:
    return RolloutTracker(waves, max_parallel, component=COMPONENT)


async def soon(work: asyncio.Task[None]) -> bool:
    """Whether it ends by itself."""
    for _ in range(10):
        await asyncio.sleep(0)
    return work.done()


async def test_without_a_limit_a_wave_starts_at_once(messages: Messages) -> None:
    hosts = of(("a",), ("b", "c", "d"))
    for name in "bcd":
        await asyncio.wait_for(hosts.acquire(name), 1)
    for name in "bcd":
        hosts.finish(name, HostStatus.COMMITTED)
    assert messages == []


async def test_a_slot_is_waited_for_and_released(messages: Messages) -> None:
    hosts = of(("a", "b", "c"), max_parallel=2)
    await hosts.acquire("a")
    await hosts.acquire("b")
    third = asyncio.create_task(hosts.acquire("c"))
    assert not await soon(third)
    hosts.finish("a", HostStatus.COMMITTED)
    assert await soon(third)
    await third
    assert messages == []


async def test_finish_releases_a_slot_only_once() -> None:
    hosts = of(("a", "b", "c"), max_parallel=1)
    await hosts.acquire("a")
    hosts.finish("a", HostStatus.COMMITTED)
    hosts.finish("a", HostStatus.COMMITTED)
    hosts.finish("b", HostStatus.COMMITTED)  # it never acquired one
    await hosts.acquire("b")
    third = asyncio.create_task(hosts.acquire("c"))
    assert not await soon(third)
    hosts.finish("b", HostStatus.COMMITTED)
    await third


async def test_a_failure_refuses_waiting_hosts(messages: Messages) -> None:
    hosts = of(("a", "b", "c"), max_parallel=1)
    await hosts.acquire("a")
    waiting = [asyncio.create_task(hosts.acquire(name)) for name in "bc"]
    assert not await soon(waiting[0])
    hosts.finish("a", HostStatus.FAILED)
    for name, one in zip("bc", waiting, strict=True):
        with pytest.raises(ActivationError) as caught:
            await asyncio.wait_for(one, 1)
        assert str(caught.value) == (
            f"left untouched: {name}: a failed. fix the release, then run `pulumi up` again"
        )
    assert messages == [("the rollout stopped: failed: a; untouched: b, c", COMPONENT)]


async def test_a_failure_refuses_later_hosts() -> None:
    """With --continue-on-error the engine continues with what does not depend on the failure."""
    hosts = of(("a",), ("b",))
    await hosts.acquire("a")
    hosts.finish("a", HostStatus.FAILED)
    with pytest.raises(ActivationError, match="left untouched: b: a failed"):
        await hosts.acquire("b")


async def test_hosts_in_progress_finish_and_the_last_one_logs_the_summary(
    messages: Messages,
) -> None:
    hosts = of(("a",), ("b", "c", "d"), ("e", "f"))
    await hosts.acquire("a")
    hosts.finish("a", HostStatus.COMMITTED)
    for name in "bcd":
        await hosts.acquire(name)
    hosts.finish("c", HostStatus.FAILED)
    assert messages == []
    hosts.finish("b", HostStatus.COMMITTED)
    assert messages == []
    hosts.skip("f")
    hosts.finish("d", HostStatus.FAILED)
    summary = "the rollout stopped: committed: a, b; failed: c, d; untouched: e; unchanged: f"
    assert messages == [(summary, COMPONENT)]
    hosts.finish("d", HostStatus.FAILED)
    with pytest.raises(ActivationError):
        await hosts.acquire("e")
    hosts.finish("e", HostStatus.FAILED)
    assert messages == [(summary, COMPONENT)]


async def test_a_run_without_failures_logs_nothing(messages: Messages) -> None:
    hosts = of(("a",), ("b",))
    for name in "ab":
        await hosts.acquire(name)
        hosts.finish(name, HostStatus.COMMITTED)
    assert messages == []


async def test_a_failed_copy_stops_the_rollout_once_the_others_have_ended(
    messages: Messages,
) -> None:
    hosts = of(("a",), ("b", "c"), ("d",))
    with hosts.copying("c"):
        with pytest.raises(TimeoutError), hosts.copying("b"):
            raise TimeoutError
        assert messages == []
    expected = [("the rollout stopped: untouched: a, c, d; not copied: b", COMPONENT)]
    assert messages == expected
    with hosts.copying("d"):
        pass
    assert messages == expected, "the same summary is not logged again"
    with pytest.raises(ActivationError, match="left untouched: a: b failed"):
        await hosts.acquire("a")


async def test_successful_copies_change_no_status(messages: Messages) -> None:
    hosts = of(("a", "b"))
    for name in "ab":
        with hosts.copying(name):
            pass
        await hosts.acquire(name)
        hosts.finish(name, HostStatus.COMMITTED)
    assert messages == []


async def test_a_cancelled_wait_holds_no_slot() -> None:
    hosts = of(("a", "b", "c"), max_parallel=1)
    await hosts.acquire("a")
    second = asyncio.create_task(hosts.acquire("b"))
    assert not await soon(second)
    second.cancel()
    await asyncio.wait([second])
    hosts.finish("a", HostStatus.COMMITTED)
    await asyncio.wait_for(hosts.acquire("c"), 1)


@dataclass
class Run:
    """Hosts that all start at once; each ends as given, after so many turns of the loop."""

    ends: list[tuple[HostStatus, int]]
    limit: int | None
    under_way: int = 0
    most: int = 0
    has_failed: bool = False
    standing: dict[str, HostStatus] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(f"web{number}" for number in range(len(self.ends)))

    async def all(self) -> None:
        hosts = RolloutTracker([self.names], self.limit, component=COMPONENT)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(pulumi.log, "warn", self.hear)
            async with asyncio.timeout(10):
                await asyncio.gather(*(self.one(hosts, number) for number in range(len(self.ends))))

    def hear(self, text: str, **_: object) -> None:
        assert self.under_way == 0
        self.warnings.append(text)

    async def one(self, hosts: RolloutTracker, number: int) -> None:
        name, (end, pauses) = self.names[number], self.ends[number]
        try:
            await hosts.acquire(name)
        except ActivationError:
            assert self.has_failed
            self.standing[name] = HostStatus.UNTOUCHED
            return
        assert not self.has_failed
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        for _ in range(pauses):
            await asyncio.sleep(0)
        self.under_way -= 1
        self.has_failed |= end is HostStatus.FAILED
        self.standing[name] = end
        hosts.finish(name, end)


async def test_disabled_hosts_are_in_the_summary(messages: Messages) -> None:
    hosts = RolloutTracker([("a",)], None, disabled=["d", "e"], component=COMPONENT)
    await hosts.acquire("a")
    hosts.finish("a", HostStatus.FAILED)
    assert messages == [("the rollout stopped: failed: a; skipped: d, e", COMPONENT)]


ENDS = st.tuples(st.sampled_from([HostStatus.COMMITTED, HostStatus.FAILED]), st.integers(0, 5))


@examples(max_examples=200, deadline=None)
@given(st.lists(ENDS, min_size=1, max_size=12), st.none() | st.integers(1, 5))
def test_any_order(ends: list[tuple[HostStatus, int]], limit: int | None) -> None:
    """Never more than the limit; none starts after a failure; one summary at the end."""
    run = Run(ends=ends, limit=limit)
    asyncio.run(run.all())
    assert run.most <= (limit or len(ends))
    assert set(run.standing) == set(run.names)
    assert len(run.warnings) == run.has_failed
    for text in run.warnings:
        parts = [
            part.split(": ") for part in text.removeprefix("the rollout stopped: ").split("; ")
        ]
        assert {name: how for how, names in parts for name in names.split(", ")} == run.standing
