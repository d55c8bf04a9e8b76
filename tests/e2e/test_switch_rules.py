"""What a switch does to changed units: the rules of NixOS's program, and of the demo's."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from components.pipeline.process.run import run
from harness import hosts as containers
from harness.incus import own_prefix
from tests.e2e.runner_hosts import RunnerHost, build, copy, launch

pytestmark = pytest.mark.e2e

PREFIX = own_prefix("flakeup-rules")
RUN = "ExecStart=/bin/sleep infinity\n"


def service(more: str = "", unit: str = "", description: str = "one") -> str:
    return f"[Unit]\nDescription={description}\n{unit}[Service]\n{RUN}{more}"


OTHER = "Environment=A=2\n"
"""A key that is no exception: it calls for what is done about a changed unit of its kind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A unit, before and after, and what the switch says of it."""

    name: str
    old: str
    new: str | None
    """None: it is no longer there."""
    told: str = ""
    """The lines that name it, without what they begin with all: `stopping, starting`."""


CASES = (
    Case(name="plain.service", old=service(), new=service(OTHER), told="stopping, starting"),
    Case(name="same.service", old=service(), new=service()),
    Case(name="comment.service", old=service(), new="# a comment\n\n" + service()),
    Case(name="install.service", old=service(), new=service("[Install]\nWantedBy=x.target\n")),
    Case(name="description.service", old=service(), new=service(description="two")),
    Case(
        name="ignored.service",
        old=service(),
        new=service(unit="OnFailure=x.service\nDocumentation=man:x\nCollectMode=inactive\n"),
    ),
    Case(name="after.service", old=service(), new=service(unit="After=x.service\n"),
         told="stopping, starting"),
    Case(
        name="trigger.service",
        old=service("ExecReload=/bin/true\n", "X-Reload-Triggers=a\n"),
        new=service("ExecReload=/bin/true\n", "X-Reload-Triggers=b\n"),
        told="reloading",
    ),
    Case(
        name="restart-trigger.service",
        old=service(unit="X-Restart-Triggers=a\n"),
        new=service(unit="X-Restart-Triggers=b\n"),
        told="stopping, starting",
    ),
    Case(
        name="reloaded.service",
        old=service("ExecReload=/bin/true\nX-ReloadIfChanged=true\n"),
        new=service("ExecReload=/bin/true\nX-ReloadIfChanged=true\n" + OTHER),
        told="reloading",
    ),
    Case(
        name="restarted.service",
        old=service("X-StopIfChanged=false\n"),
        new=service("X-StopIfChanged=false\n" + OTHER),
        told="restarting",
    ),
    Case(
        name="kept.service",
        old=service("X-RestartIfChanged=no\n"),
        new=service("X-RestartIfChanged=no\n" + OTHER),
        told="NOT restarting",
    ),
    Case(
        name="wrong-section.service",
        old=service(unit="X-RestartIfChanged=false\n"),
        new=service(OTHER, unit="X-RestartIfChanged=false\n"),
        told="stopping, starting",
    ),
    Case(
        name="manual.service",
        old=service(unit="X-OnlyManualStart=true\n"),
        new=service(OTHER, unit="X-OnlyManualStart=true\n"),
        told="NOT restarting",
    ),
    Case(
        name="refusing.service",
        old=service(unit="RefuseManualStop=true\n"),
        new=service(OTHER, unit="RefuseManualStop=true\n"),
        told="NOT restarting",
    ),
    Case(
        name="cleared.service",
        old=service("Environment=A=1\nEnvironment=\nEnvironment=B=1\n"),
        new=service("Environment=B=1\n"),
    ),
    Case(name="removed.service", old=service(), new=None, told="stopping"),
    Case(name="left.service", old=service(unit="X-StopOnRemoval=false\n"), new=None),
    Case(
        name="socketed.socket",
        old="[Socket]\nListenStream=8101\n",
        new="[Socket]\nListenStream=8101\n",
        told="stopping, starting",
    ),
    Case(
        name="socketed.service",
        old=service(unit="Requires=socketed.socket\n"),
        new=service(OTHER, unit="Requires=socketed.socket\n"),
        told="stopping",
    ),
    Case(
        name="port.socket",
        old="[Socket]\nListenStream=8102\n",
        new="[Socket]\nListenStream=8103\n",
    ),
    Case(
        name="port.service",
        old=service(unit="Requires=port.socket\n"),
        new=service(unit="Requires=port.socket\n"),
    ),
    Case(
        name="every.timer",
        old="[Timer]\nUnit=same.service\nOnActiveSec=1h\n",
        new="[Timer]\nUnit=same.service\nOnActiveSec=2h\n",
        told="restarting",
    ),
    Case(
        name="some.slice",
        old="[Slice]\nMemoryMax=infinity\n",
        new="[Slice]\nMemoryMax=90%\n",
    ),
    Case(
        name="watch.path",
        old="[Path]\nUnit=same.service\nPathExists=/nowhere\n",
        new="[Path]\nUnit=same.service\nPathExists=/nirgends\n",
    ),
    Case(
        name="mnt-options.mount",
        old="[Mount]\nWhat=tmpfs\nWhere=/mnt/options\nType=tmpfs\nOptions=size=1m\n",
        new="[Mount]\nWhat=tmpfs\nWhere=/mnt/options\nType=tmpfs\nOptions=size=2m\n",
        told="reloading",
    ),
    Case(
        name="mnt-type.mount",
        old="[Mount]\nWhat=tmpfs\nWhere=/mnt/type\nType=tmpfs\n",
        new="[Mount]\nWhat=ramfs\nWhere=/mnt/type\nType=ramfs\n",
        told="restarting",
    ),
    Case(name="each@.service", old=service(), new=service(OTHER)),
    Case(name="each@1.service", old="", new="", told="stopping, starting"),
    Case(name="new.service", old="", new=service()),
)  # fmt: skip
SAID = ("stopping", "NOT restarting", "reloading", "restarting", "starting")


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """The lists of a switch, by what they begin with, and its exit code."""

    code: int
    text: str
    lists: dict[str, list[str]]

    def of(self, unit: str) -> str:
        return ", ".join(word for word in SAID if unit in self.lists.get(word, []))


def units(side: str) -> dict[str, str]:
    texts = {case.name: case.old if side == "old" else case.new for case in CASES}
    return {name: text for name, text in texts.items() if text}


@pytest.fixture(scope="module")
def told(runner_place: Path, app: Path) -> Iterator[Told]:
    """What the switch from all units before to all units after says."""
    hosts: dict[str, dict[str, object]] = {side: {"units": units(side)} for side in ("old", "new")}
    systems = asyncio.run(build(runner_place, app, hosts))
    containers.remove(PREFIX)
    try:
        host = launch(PREFIX, runner_place, {"web1": "root"})["web1"]
        asyncio.run(copy(host, systems.values()))
        yield asyncio.run(_switch(host, *(systems[side].out_path.path for side in ("old", "new"))))
    finally:
        containers.remove(PREFIX)


async def _switch(host: RunnerHost, old: str, new: str) -> Told:
    program = "bin/switch-to-configuration"
    started = " ".join(name for name in units("old") if "@." not in name) + " each@1.service"
    begin = f"{old}/{program} test && systemctl start {started}"
    done = await run(host.ssh.argv("sh", "-c", begin), timeout=60, check=False)
    assert done.code == 0, done.stderr_text
    done = await run(host.ssh.argv(f"{new}/{program}", "test"), timeout=60, check=False)
    lists: dict[str, list[str]] = {}
    for line in done.stderr_text.splitlines():
        what, _, names = line.partition(": ")
        word = what.removesuffix(" the following units").removesuffix(
            " the following changed units"
        )
        if word in SAID:
            lists[word] = names.split(", ")
    return Told(code=done.code, text=done.stderr_text, lists=lists)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_is_done_about_a_unit(told: Told, case: Case) -> None:
    assert told.of(case.name) == case.told


def test_nothing_else_is_touched(told: Told) -> None:
    assert told.code == 0, told.text
    named = {unit for names in told.lists.values() for unit in names}
    assert named <= {case.name for case in CASES}
