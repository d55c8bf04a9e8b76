"""Units, before and after a switch, and what a switch program says of them.

Both the demo's program and NixOS's are held to it (tests/e2e/test_switch_rules.py), and so is the
preview (tests/unit/evaluate/test_unit_change.py).
"""

from dataclasses import dataclass

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
    preview: str = ""
    """What the preview says of it, if that does not follow from what the program says."""


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
        preview="stops if active, and its socket starts it",
    ),
    Case(
        name="port.socket",
        old="[Socket]\nListenStream=8102\n",
        new="[Socket]\nListenStream=8103\n",
        preview="keeps its old settings until it is stopped, or the host reboots",
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
    Case(
        name="mnt-size.mount",
        old="[Mount]\nWhat=tmpfs\nWhere=/mnt/size\nType=tmpfs\n",
        new="[Mount]\nWhat=tmpfs\nWhere=/mnt/size\nType=tmpfs\nOptions=size=2m\n",
        told="restarting",
    ),
    Case(
        name="command.service",
        old=service("ExecReload=/bin/true\n"),
        new=service("ExecReload=/bin/sh -c true\n"),
        told="reloading",
    ),
    Case(name="command-gone.service", old=service("ExecReload=/bin/true\n"), new=service()),
    Case(
        name="trigger-new.service",
        old=service("ExecReload=/bin/true\n"),
        new=service("ExecReload=/bin/true\n", "X-Reload-Triggers=a\n"),
        told="reloading",
    ),
    Case(
        name="trigger-gone.service",
        old=service("ExecReload=/bin/true\n", "X-Reload-Triggers=a\n"),
        new=service("ExecReload=/bin/true\n"),
    ),
    Case(
        name="trigger-more.service",
        old=service("ExecReload=/bin/true\n", "X-Reload-Triggers=a\n"),
        new=service("ExecReload=/bin/true\n" + OTHER, "X-Reload-Triggers=b\n"),
        told="stopping, starting",
    ),
    Case(
        name="anyhow.socket",
        old="[Socket]\nListenStream=8104\n",
        new="[Socket]\nListenStream=8105\n",
        told="stopping, starting",
    ),
    Case(
        name="anyhow.service",
        old=service(unit="Requires=anyhow.socket\n"),
        new=service("X-NotSocketActivated=true\n", unit="Requires=anyhow.socket\n"),
        told="stopping, starting",
    ),
    Case(
        name="lone.socket",
        old="[Socket]\nListenStream=8106\n",
        new="[Socket]\nListenStream=8107\n",
        preview="keeps its old settings until it is stopped, or the host reboots",
    ),
    Case(
        name="lone.service",
        old=service("X-StopIfChanged=false\n", "Requires=lone.socket\n"),
        new=service("X-StopIfChanged=false\n" + OTHER, "Requires=lone.socket\n"),
        told="restarting",
    ),
    Case(name="job.timer", old="[Timer]\nOnActiveSec=1h\n", new="[Timer]\nOnActiveSec=1h\n"),
    Case(
        name="job.service",
        old="[Service]\nType=oneshot\nExecStart=/bin/true\n",
        new="[Service]\nType=oneshot\nExecStart=/bin/true 2\n",
        preview="changed, used from its next run on",
    ),
    Case(
        name="stays.service",
        old="[Service]\nType=oneshot\nRemainAfterExit=true\nExecStart=/bin/true\n",
        new="[Service]\nType=oneshot\nRemainAfterExit=true\nExecStart=/bin/true 2\n",
        told="stopping, starting",
    ),
    Case(name="point.target", old="[Unit]\nAfter=a.target\n", new="[Unit]\nAfter=b.target\n"),
    Case(name="dropped.service", old=service(), new=service(), told="stopping, starting"),
    Case(name="dropped.service.d/more.conf", old="", new="[Service]\n" + OTHER),
    Case(name="each@.service", old=service(), new=service(OTHER)),
    Case(name="each@1.service", old="", new="", told="stopping, starting"),
    Case(name="new.service", old="", new=service(), preview="starts"),
)  # fmt: skip


def units(side: str) -> dict[str, str]:
    texts = {case.name: case.old if side == "old" else case.new for case in CASES}
    return {name: text for name, text in texts.items() if text}
