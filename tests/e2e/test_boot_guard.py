"""The boot guard in boots of a real systemd that do not get far.

The flake's own checks boot NixOS, which needs nixpkgs. These hosts are those of other tests: the
guard's script runs on a root of its own, and systemd and its timer are the host's.
"""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from harness import hosts as containers
from harness.hosts import ContainerHost
from harness.incus import ROOT, HarnessError, own_prefix

pytestmark = pytest.mark.e2e
PREFIX: Final = own_prefix("flakeup-guard")
LIMIT: Final = 20
"""Seconds from the start of systemd until the rollback."""
SCRIPT: Final = (ROOT / "flake" / "modules" / "boot-guard.sh").read_text()
TIMER: Final = "flakeup-boot-revert.timer"
# As flake/modules/boot-guard.nix has it; the host's fake systemctl takes note instead of rebooting.
WRAPPER: Final = f"""#!/bin/sh
PATH=/var/guard/bin:/usr/bin:/bin
FLAKEUP_GUARD_ROOT=/var/guard
FLAKEUP_GUARD_LIMIT={LIMIT}s
{SCRIPT}
"""
GUARD: Final = """\
[Unit]
DefaultDependencies=no
IgnoreOnIsolate=yes
After=systemd-remount-fs.service
Before=shutdown.target
Conflicts=shutdown.target
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/var/guard/guard boot
[Install]
WantedBy=sysinit.target
"""
HANG: Final = """\
[Unit]
DefaultDependencies=no
Before=sysinit.target
[Service]
Type=oneshot
TimeoutStartSec=infinity
ExecStart=/bin/sleep infinity
[Install]
WantedBy=sysinit.target
"""
FAKES: Final = {
    "systemctl": 'read -r up _ </proc/uptime; echo "$1 ${up%.*}" >>/var/guard/log',
    "nix-env": 'ln -sfn "system-$4-link" "$2"',
}
SYSTEM: Final = 'echo "${0%%/bin/*} $1" >>/var/guard/log'
# A release that was staged in an earlier boot, and runs for the first time.
STAGED: Final = """set -e
cd /var/guard
mkdir -p proc/sys/kernel/random run nix/var/nix/profiles nix/var/flakeup/attempts/a1
ln -sfn /proc/sys/kernel/random/boot_id proc/sys/kernel/random/boot_id
chmod -R 755 guard bin old new
ln -sfn /var/guard/new run/booted-system
ln -sfn /var/guard/old nix/var/nix/profiles/system-7-link
ln -sfn /var/guard/new nix/var/nix/profiles/system-8-link
ln -sfn system-8-link nix/var/nix/profiles/system
ln -sfn attempts/a1 nix/var/flakeup/current
cd nix/var/flakeup/attempts/a1
printf 'mode boot\\nend\\n' >spec
echo committed >state
echo earlier >boot-id
echo /var/guard/old >old
echo /var/guard/new >new
rm -f guard guard-boot reason exit trouble /var/guard/log
systemctl daemon-reload
systemctl -q enable guarded.service hangs.service
sync
"""


class GuardedHost:
    """A host whose next boot is the first one of a release, and hangs before sysinit.target."""

    def __init__(self, container: ContainerHost) -> None:
        self._container = container

    def put(self, path: str, text: str) -> None:
        """Write a file; `text` may be a script."""
        script = f"mkdir -p {Path(path).parent}; cat >{path}"
        self._container.incus.call(
            "exec", self._container.instance, "-T", "--", "sh", "-c", script, stdin=text
        )

    def run(self, script: str) -> None:
        self._container.exec("sh", "-c", script, timeout=60)

    def read(self, script: str) -> str:
        return self._container.query("sh", "-c", script, timeout=60)

    def stage(self) -> None:
        self.put("/var/guard/guard", WRAPPER)
        for name, text in FAKES.items():
            self.put(f"/var/guard/bin/{name}", f"#!/bin/sh\n{text}\n")
        for name in ("old", "new"):
            self.put(f"/var/guard/{name}/bin/switch-to-configuration", f"#!/bin/sh\n{SYSTEM}\n")
        self.put("/etc/systemd/system/guarded.service", GUARD)
        self.put("/etc/systemd/system/hangs.service", HANG)
        self.run(STAGED)

    def reboot(self) -> None:
        """Start it again, and wait until its systemd answers."""
        incus, name = self._container.incus, self._container.instance
        incus.call("restart", "--force", name)
        self.wait_for(f"systemctl is-active -q {TIMER}")

    def wait_for(self, condition: str, seconds: float = 60) -> None:
        end = time.monotonic() + seconds
        while not self.succeeds(condition):
            assert time.monotonic() < end, f"not within {seconds} s: {condition}"
            time.sleep(0.3)

    def succeeds(self, condition: str) -> bool:
        try:
            self.run(condition)
        except HarnessError:
            return False
        return True

    def rebooted_after(self) -> int:
        """Wait for the rollback's end; returns its seconds since the start of systemd."""
        self.wait_for("grep -q '^reboot ' /var/guard/log", LIMIT + 60)
        began = "systemctl show --property=UserspaceTimestampMonotonic --value"
        script = f"sed -n 's/^reboot //p' /var/guard/log; {began}"
        at, start = map(int, self.read(script).split())
        return at - start // 1_000_000


@pytest.fixture(scope="module")
def container(
    tools: None,  # noqa: ARG001 skips without the tools
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[ContainerHost]:
    keys = tmp_path_factory.mktemp("guard")
    containers.remove(PREFIX)
    yield containers.launch(PREFIX, ["web1"], keys)["web1"]
    containers.remove(PREFIX)


@pytest.fixture
def host(container: ContainerHost) -> GuardedHost:
    guarded = GuardedHost(container)
    guarded.stage()
    guarded.reboot()
    return guarded


def test_a_boot_that_hangs_early_is_rolled_back_in_time(host: GuardedHost) -> None:
    """Whoever reloads systemd meanwhile."""
    assert not host.succeeds("systemctl is-active -q sysinit.target")
    host.run("nohup sh -c 'while sleep 1; do systemctl daemon-reload; done' >/dev/null 2>&1 &")
    assert LIMIT <= host.rebooted_after() < LIMIT + 40
    log = host.read("cat /var/guard/log").splitlines()
    assert log[0] == "/var/guard/old boot"
    assert host.read("readlink -e /var/guard/nix/var/nix/profiles/system").strip().endswith("/old")


def test_emergency_mode_is_rolled_back_too(host: GuardedHost) -> None:
    """What a file system that is missing leads to."""
    host.run("systemctl isolate --no-block emergency.target")
    host.wait_for("systemctl is-active -q emergency.target")
    assert not host.succeeds("systemctl is-active -q hangs.service")
    assert LIMIT <= host.rebooted_after() < LIMIT + 40


def test_a_confirmation_ends_it(host: GuardedHost) -> None:
    host.run("/var/guard/guard confirm; PATH=/usr/bin:/bin systemctl stop " + TIMER)
    assert host.read("cat /var/guard/nix/var/flakeup/attempts/a1/guard").strip() == "confirmed"
    assert not host.succeeds(f"systemctl is-active -q {TIMER}")
