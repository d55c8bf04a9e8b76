#!/bin/bash
# systemd 257.13 (Debian 257.13-1~deb13u1) and D-Bus (Debian 1.16.2-2): `systemd-hostnamed` starts on request, and ends by
# itself half a minute after its last one. If the bus was restarted in between, it ends with status 1, and is a
# failed unit from then on. So what restarts the bus leaves no failed unit at once, but one that comes up to
# 30 s later, with nobody near it; whoever judges a deployment by the units that have failed since it began
# sees one that the deployment has not touched (networkd asks hostnamed with each lease, so it often runs).
#
# Seen, each time after one `hostnamectl`: 45 s later it is inactive with the result `success`; with the bus
# restarted after 2 s, it still runs at first, and 45 s later it has failed with the result `exit-code`, status 1.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib/debian.sh
. "$(dirname "$0")/lib/debian.sh"
begin "$@"
unpack systemd=257.13-1~deb13u1 dbus=1.16.2-2 dash coreutils
printf 'root:x:0:0::/root:/bin/sh\nmessagebus:x:100:100::/nonexistent:/bin/false\n' >"$root/etc/passwd"
printf 'root:x:0:\nmessagebus:x:100:\n' >"$root/etc/group"
printf '[Unit]\nDefaultDependencies=no\n' >"$root/etc/systemd/system/sysinit.target"
boot

hostnamed() { # PROPERTY...
    inside systemctl show systemd-hostnamed.service --value "${@/#/--property=}" | paste -sd ' '
}
inside systemctl start dbus.socket

inside hostnamectl --json=short >/dev/null
sleep 45
report "45 s after a request" "success inactive" "$(hostnamed Result ActiveState)"

inside hostnamectl --json=short >/dev/null
sleep 2
inside systemctl restart dbus.socket dbus.service
report "when the bus has been restarted" "active" "$(hostnamed ActiveState)"
sleep 45
report "45 s after a request, with the bus restarted" "exit-code 1 failed" \
    "$(hostnamed Result ExecMainStatus ActiveState)"
exit "$changed"
