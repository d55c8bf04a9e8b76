#!/bin/bash
# systemd 257.13 (Debian 257.13-1~deb13u1): `systemd-run --on-active=` in a boot that has not reached
# sysinit.target does not return, and its timer does not run. The unit that calls it may well have
# DefaultDependencies=no: the transient timer has the default ones, `After=sysinit.target` among them, and
# systemd-run waits for its start. What is to act when a boot hangs must pass DefaultDependencies=no for the
# timer and for the service.
#
# Seen, with a unit before sysinit.target that does not end: the call is ended after 5 s, its timer is
# not active; with DefaultDependencies=no it returns, and what it starts has run 2 s later.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib/debian.sh
. "$(dirname "$0")/lib/debian.sh"
begin "$@"
unpack systemd=257.13-1~deb13u1 dash coreutils
cat >"$root/etc/systemd/system/hangs.service" <<'UNIT'
[Unit]
DefaultDependencies=no
Before=sysinit.target
[Service]
Type=oneshot
TimeoutStartSec=infinity
ExecStart=/usr/bin/sleep infinity
UNIT
# Nothing else of a boot is needed here.
printf '[Unit]\nDefaultDependencies=no\nRequires=hangs.service\n' >"$root/etc/systemd/system/sysinit.target"
boot
inside systemctl start --no-block sysinit.target

status=0
inside timeout 5 systemd-run --quiet --unit=default --on-active=1 -- touch /run/default || status=$?
report "with default dependencies: exit status of systemd-run under timeout 5" 124 "$status"
report "its timer" inactive "$(inside systemctl is-active default.timer || true)"

status=0
inside timeout 5 systemd-run --quiet --unit=early --on-active=1 --timer-property=AccuracySec=100ms \
    --timer-property=DefaultDependencies=no -p DefaultDependencies=no -- touch /run/early || status=$?
report "without: exit status of systemd-run under timeout 5" 0 "$status"
sleep 2
report "what it starts has run" yes "$(if inside test -e /run/early; then echo yes; else echo no; fi)"
report "sysinit.target meanwhile" inactive "$(inside systemctl is-active sysinit.target || true)"
exit "$changed"
