"""The systems that rows deploy, by name, as options of the demo's flake."""

from typing import Final

from harness.command_result import Json

_SICK: Final = (
    "[Unit]\nDescription=Starts unless /run/sick exists\n[Service]\nType=oneshot\n"
    "RemainAfterExit=yes\nExecStart=/bin/sh -c 'test ! -e /run/sick'\n"
)
_LOOPING: Final = (
    "[Unit]\nStartLimitIntervalSec=0\n[Service]\nType=exec\n"
    "Restart=always\nRestartSec=1\nExecStart=/bin/false\n"
)
_DYING: Final = (
    "[Unit]\nStartLimitIntervalSec=0\n[Service]\nType=exec\n"
    "Restart=always\nRestartSec=1\nExecStart=/bin/sh -c 'sleep 2; exit 1'\n"
)
_PAUSING: Final = (
    "[Unit]\nDescription=Works for a moment, and again in ten minutes\n[Service]\nType=exec\n"
    "Restart=always\nRestartSec=600\nExecStart=/bin/sleep 1\n"
)
_OTHER_WORKER: Final = (
    "[Unit]\nDescription=The app's worker, changed\n[Service]\nType=exec\n"
    "ExecStart=/bin/sleep infinity\n[Install]\nWantedBy=multi-user.target\n"
)
_MOUNT: Final = (
    "[Unit]\nDescription=A file system that OLD does not mount\n"
    "[Mount]\nWhat=tmpfs\nWhere=/var/lib\nType=tmpfs\n[Install]\nWantedBy=multi-user.target\n"
)
_INHIBITED: Final = "".join(
    (
        "not while it runs: bus-program : first -> second\n\nways round it:\n",
        *(f"- way {number}, which says nothing about the cause\n" for number in range(1, 9)),
    )
)
_SILENT: Final = (
    "[Unit]\nDescription=A port that accepts connections and never answers\n[Service]\nType=exec\n"
    "ExecStart=/usr/bin/systemd-socket-activate --listen=8081 /bin/sleep infinity\n"
    "[Install]\nWantedBy=multi-user.target\n"
)


def _faulty(**faults: str) -> Json:
    return {"faults": {name.replace("_", "-"): text for name, text in faults.items()}}


OPTIONS: Final[dict[str, Json]] = {
    "plain": {},
    "other-worker": {"units": {"app-worker.service": _OTHER_WORKER}, **_faulty(activate_fails="")},
    "slow": {"activationSeconds": 1},
    "slower": {"activationSeconds": 3},
    "unit-fails": _faulty(unit_fails=""),
    "unit-fails-late": _faulty(unit_fails_late="2"),
    "looping": {"units": {"looping.service": _LOOPING}},
    "dying": {"units": {"dying.service": _DYING}},
    "pausing": {"units": {"pausing.service": _PAUSING}},
    "mounting": {"units": {"var-lib.mount": _MOUNT}, **_faulty(unit_fails="")},
    "tool-less": _faulty(tools_broken="", unit_fails=""),
    "sick": {"units": {"sick.service": _SICK}},
    "activate-fails": _faulty(activate_fails=""),
    "snippet-fails": _faulty(snippet_fails="setupSecrets"),
    "restarts-unknown": _faulty(restart_list="nosuch.service"),
    "reload-refused": _faulty(reload_list="steady.service"),
    "user-fails": _faulty(user_activation_fails="deploy"),
    "dbus-stopped": _faulty(stops_dbus="stop"),
    "dbus-stopped-late": _faulty(stops_dbus="activate"),
    "logind-frozen": _faulty(freezes_logind="3"),
    "logind-stopped": _faulty(stops_logind=""),
    "hanging": _faulty(activate_hangs=""),
    "eating": {"activationSeconds": 2, **_faulty(activate_eats="256")},
    "flooding": _faulty(activate_floods="100"),
    "unbootable": _faulty(boot_fails=""),
    "boot-slow": _faulty(boot_takes="5"),
    "boot-hangs": _faulty(boot_hangs=""),
    "unchecked": _faulty(check_fails=""),
    "inhibited": _faulty(check_fails=_INHIBITED),
    "slow-check": _faulty(check_takes="3"),
    "hanging-check": _faulty(check_takes="3600"),
    "long-check": _faulty(check_takes="34"),
    "prepare-root": _faulty(points_init="prepare-root"),
    "silent": {"units": {"silent.service": _SILENT}},
    "rebooting": {"initInterface": "systemd 3"},
    "sshd-stopped": _faulty(sshd_stopped=""),
    "sshd-port": _faulty(sshd_port="2222"),
    "sshd-invalid": _faulty(sshd_invalid=""),
    "sshd-host-key": _faulty(sshd_host_key=""),
    "sshd-keys": _faulty(sshd_keys=""),
    "link-down": _faulty(net_link_down="eth0"),
    "drop": _faulty(net_drop="eth0"),
    "blackhole": _faulty(net_blackhole="@deployer@"),
    "eval-fails": _faulty(eval_fails=""),
    "build-fails": _faulty(build_fails=""),
    "wrong-version": _faulty(app_answers="0"),
    "big": {"payloadPaths": 40, "payloadMegabytes": 5},
    "large": {"payloadPaths": 6, "payloadMegabytes": 5},
}
COLLECTED: Final = ("collected-1", "collected-2", "collected-3")
"""Those that a garbage collection may delete."""
PREBUILT: Final = (
    "plain",
    "other",
    "slow",
    "slower",
    "slow-check",
    "long-check",
    "unit-fails",
    "unit-fails-late",
    "activate-fails",
    "unbootable",
    "sshd-stopped",
    "prepare-root",
    "other-worker",
    *COLLECTED,
)
"""Those deployed without the engine: built once, and copied to each host in advance."""


def prebuilt_options() -> dict[str, Json]:
    """The options of `PREBUILT`; `other` is deployed where `plain` already runs."""
    made = {name: OPTIONS.get(name, {"extraText": name}) for name in PREBUILT}
    return made | {name: {"activationSeconds": 3, "extraText": name} for name in COLLECTED}
